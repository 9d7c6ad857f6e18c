"""What the panel shows of a run at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run at one moment; whatever is unknown is None and not shown.

    Attributes:
        step: Optimizer steps done.
        success: Share of successful trajectories of the last step, 0..1.
        reward: Mean reward of the last step.
        sampled_rate: Tokens sampled per second.
        trained_rate: Tokens trained on per second.
        staleness_mean, staleness_max: Policy versions between sampling and training, over the last step's tokens.
        in_flight: Trajectories under way.
        errors: Trajectories that ended in an infrastructure error, since the start.
        retries: Episodes started again, since the start.
        entropy: Mean token entropy of the policy in nats.
        loss: Loss of the last step.
        step_seconds: Time the last step took.
        checkpoint: The newest checkpoint, in words.
        extra: Further figures by name, in the order given.
    """

    step: int
    success: float | None = None
    reward: float | None = None
    sampled_rate: float | None = None
    trained_rate: float | None = None
    staleness_mean: float | None = None
    staleness_max: float | None = None
    in_flight: int | None = None
    errors: int = 0
    retries: int = 0
    entropy: float | None = None
    loss: float | None = None
    step_seconds: float | None = None
    checkpoint: str | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
