"""Corrections for the gap between engine and trainer, and for staleness: weights on any objective's losses.

They multiply each token's loss by a weight without gradient, made of x = proximal − behaviour. That is *on top of* the
objective's own ratio, which must then be taken against the proximal policy: with the ratio against the behaviour policy
("bypass mode") the same gap would count twice. K = sampled tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from agentrl_trainers.objectives._ppo import LOG_RATIO_BOUND
from agentrl_trainers.objectives._sequences import need_sequences, sequence_mean, sequence_sum

Reduce = Callable[[torch.Tensor], torch.Tensor]
COUNT_GUARD = 1e-8
"""Added to counts, as the reference does, so that a mean over nothing is 0."""


@dataclass(frozen=True)
class Correction:
    """Importance weights without gradient.

    Attributes:
        weight_K: What multiplies the loss; 0 where a token is dropped.
        raw_K: exp(x) before truncation.
        outside_K: Truncated or dropped tokens.
        factor: Mean that the weights were divided by; 1 without normalisation.
    """

    weight_K: torch.Tensor
    raw_K: torch.Tensor
    outside_K: torch.Tensor
    factor: float = 1.0


def correction_weights(
    proximal_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    level: Literal["token", "sequence"] = "token",
    upper: float = 2.0,
    lower: float | None = None,
    normalise: bool = False,
    reduce: Reduce | None = None,
) -> Correction:
    """Return truncated importance weights.

    Without `lower` (TIS, Yao et al. 2025): w = min(e^x, upper). With it (IcePop, Ling team 2025): w = e^x inside
    [lower, upper], else 0; a dropped token stays in the denominator of the loss. Level "sequence" takes the product
    over the sequence: unbiased, but on long trajectories it collapses to 0 or `upper`.

    Args:
        proximal_K: Trainer's log-probs before the update.
        behaviour_K: Engine's log-probs, at the temperature that was sampled with.
        sequence_K: Sequence of each token, for level "sequence".
        level: "token" or "sequence".
        upper: Largest weight.
        lower: Smallest weight that is kept, or None.
        normalise: Divide by the mean weight, of tokens or of sequences; give the whole batch then, not a micro-batch.
        reduce: Sums over ranks, for the mean.

    Raises:
        ValueError: Level "sequence" without `sequence_K`.
    """
    gap_K = proximal_K.detach() - behaviour_K
    if level == "sequence":
        sequence_K = need_sequences(sequence_K, 'a correction with level "sequence"')
        gap_K = sequence_sum(gap_K, sequence_K)[sequence_K]
    raw_K = gap_K.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
    outside_K = raw_K > upper
    if lower is None:
        weight_K = raw_K.clamp(max=upper)
    else:
        outside_K = outside_K | (raw_K < lower)
        weight_K = raw_K.masked_fill(outside_K, 0)
    factor = 1.0
    if normalise:
        each = weight_K
        if level == "sequence" and sequence_K is not None:
            count_S = torch.bincount(sequence_K)
            each = (sequence_sum(weight_K, sequence_K) / (count_S + COUNT_GUARD))[count_S > 0]
        sums = torch.stack([each.sum(), torch.tensor(float(len(each))).to(each)])
        total, count = (sums if reduce is None else reduce(sums)).tolist()
        mean = total / (count + COUNT_GUARD)
        factor = mean if mean > COUNT_GUARD else 1.0
    return Correction(weight_K / factor, raw_K, outside_K, factor)


def off_policy_sequences(
    logprob_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    advantage_K: torch.Tensor,
    sequence_K: torch.Tensor,
    *,
    threshold: float,
) -> torch.Tensor:
    """Return which tokens stay: not those with A < 0 in a sequence whose mean(behaviour − logprob) is > `threshold`.

    DeepSeek-V3.2's off-policy sequence mask (arXiv 2512.02556): what went wrong under another policy teaches little.

    Args:
        logprob_K: Current log-probs.
        behaviour_K: Sampler's, or those at the start of the update.
        advantage_K: Advantages.
        sequence_K: Sequence of each token.
        threshold: δ, in nats per token.
    """
    drift_K = sequence_mean(behaviour_K - logprob_K.detach(), sequence_K)[sequence_K]
    return (advantage_K >= 0) | (drift_K <= threshold)


def high_entropy(entropy_K: torch.Tensor, *, share: float) -> torch.Tensor:
    """Return the `share` of tokens with the highest entropies of a batch (Wang et al. 2025, arXiv 2506.01939)."""
    if not entropy_K.numel():
        return torch.zeros_like(entropy_K, dtype=torch.bool)
    return entropy_K >= torch.quantile(entropy_K.detach().float(), 1 - share)
