"""What one training step reports."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from agentrl.errors import AgentRLError


class TrainingDivergedError(AgentRLError):
    """Loss or gradient were not finite several steps in a row; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """Figures of one training step. Means are over the tokens trained on, of all updates of the step.

    Attributes:
        step: Training steps so far, this one included.
        loss: What was minimised, policy loss minus entropy bonus; mean over the updates made.
        grad_norm: Global norm of the gradient before clipping, largest over updates.
        lr: Learning rate of the step.
        entropy: Mean entropy in nats.
        kl_behaviour, kl_behaviour_max: Divergence k3 between sampler and current weights, mean and largest token.
        kl_proximal, kl_proximal_max: The same from the start of the step; 0 with one update.
        fresh_gap_max: Largest |proximal − behaviour| log-prob among tokens that these very weights sampled: how far
            engine and trainer differ in numerics.
        clip_fraction, dual_clip_fraction: Share of tokens whose ratio, or whose negative bound, was clipped.
        importance, importance_max: Importance weights, mean and largest.
        filtered_fraction: Share of tokens whose importance weight was dropped or clamped.
        staleness, staleness_max: Mean and largest age in versions of the sampled tokens that are within the bound.
        tokens_total: Sampled tokens of the batch: the denominator of a token mean.
        tokens_trained: Those that had a forward pass.
        tokens_masked: Those beyond the staleness bound: not trained on, still in the denominator.
        tokens_skipped: Those of rows where no token has an advantage: their gradient is exactly 0, so the forward pass
            was saved; still in the denominator.
        context_tokens: Tokens of the rows that had a forward pass, environment tokens included, no padding.
        padding_fraction: Share of padding in what the model computed.
        micro_batches: Forward passes with gradient.
        updates, updates_skipped: Optimizer updates made, and left out.
        skipped: None, or why updates were left out: nothing to learn from, or numbers that were not finite.
        value_loss: Mean loss of the critic over its targets.
        value_clip_fraction: Share of targets whose value was held at the edge of its range.
        value_explained: Share of the variance of the targets that the values explain, before the update: 1 is perfect,
            0 is as good as their mean, below 0 is worse.
        value_targets: Targets the critic learned from.
        critic_grad_norm: Global norm of the gradient of the critic's own weights, largest over updates.
        critic_warmup: 1.0 while only the critic learns.
        tokens_per_second: Context tokens by `seconds`.
        seconds: Duration of the step.
    """

    step: int
    loss: float = 0.0
    grad_norm: float = 0.0
    lr: float = 0.0
    entropy: float = 0.0
    kl_behaviour: float = 0.0
    kl_behaviour_max: float = 0.0
    kl_proximal: float = 0.0
    kl_proximal_max: float = 0.0
    fresh_gap_max: float = 0.0
    clip_fraction: float = 0.0
    dual_clip_fraction: float = 0.0
    importance: float = 1.0
    importance_max: float = 1.0
    filtered_fraction: float = 0.0
    staleness: float = 0.0
    staleness_max: int = 0
    tokens_total: int = 0
    tokens_trained: int = 0
    tokens_masked: int = 0
    tokens_skipped: int = 0
    context_tokens: int = 0
    padding_fraction: float = 0.0
    micro_batches: int = 0
    updates: int = 0
    updates_skipped: int = 0
    skipped: str | None = None
    value_loss: float = 0.0
    value_clip_fraction: float = 0.0
    value_explained: float = 0.0
    value_targets: int = 0
    critic_grad_norm: float = 0.0
    critic_warmup: float = 0.0
    tokens_per_second: float = 0.0
    seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """Return all numbers by name, for logs."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if isinstance(value, int | float)}
