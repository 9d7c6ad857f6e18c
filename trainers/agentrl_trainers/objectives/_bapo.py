"""BAPO: clip bounds that balance what good and bad tokens contribute. K = sampled tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from agentrl_trainers.objectives._ppo import clipped_surrogate, ratio
from agentrl_trainers.objectives._token_loss import TokenLoss

Reduce = Callable[[torch.Tensor], torch.Tensor]
"""Sums a tensor over all ranks that train together; on one process the identity."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of the ratio itself, and the balance reached with them.

    Attributes:
        lowest: Lower bound.
        highest: Upper bound.
        balance: Σ positive contributions / Σ |negative contributions|; inf without negative ones.
    """

    lowest: float
    highest: float
    balance: float


def bapo_bounds(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    target: float = 0.5,
    lower_start: float = 0.6,
    lower_max: float = 0.9,
    lower_step: float = 0.05,
    upper_start: float = 1.2,
    upper_max: float = 3.0,
    upper_step: float = 0.05,
    reduce: Reduce | None = None,
) -> Bounds:
    """Return the tightest bounds whose balance is at least `target`: the lower one is raised first, then the upper.

    The contribution of a token is A·min(ρ, highest) for A ≥ 0 and A·max(ρ, lowest) for A < 0. The sums must be those of
    the whole batch, else each micro-batch or rank trains on an objective of its own: give all tokens at once, and
    `reduce` where there are several ranks.

    Args:
        logprob_K: Current log-probs; no gradient is taken.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        target: Wanted balance; the authors use .5 to 1.
        lower_start: Where the lower bound starts.
        lower_max: How far it may be raised.
        lower_step: By how much at a time.
        upper_start: Where the upper bound starts.
        upper_max: How far it may be raised.
        upper_step: By how much at a time.
        reduce: Sums over ranks.
    """
    ratio_K = ratio(logprob_K.detach(), old_K)

    def balance(lowest: float, highest: float) -> float:
        held_K = torch.where(advantage_K >= 0, ratio_K.clamp(max=highest), ratio_K.clamp(min=lowest))
        gain_K = held_K * advantage_K
        sums = torch.stack([gain_K.clamp(min=0).sum(), -gain_K.clamp(max=0).sum()])
        positive, negative = (sums if reduce is None else reduce(sums)).tolist()
        return positive / (negative + 1e-8) if negative > 0 else float("inf")

    lowest, highest = lower_start, upper_start
    found = balance(lowest, highest)
    while found < target and lowest < lower_max and lower_step > 0:
        lowest = min(lowest + lower_step, lower_max)
        found = balance(lowest, highest)
    while found < target and highest < upper_max and upper_step > 0:
        highest = min(highest + upper_step, upper_max)
        found = balance(lowest, highest)
    return Bounds(lowest, highest, found)


def bapo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    bounds: Bounds,
    dual_clip: float | None = 3.0,
) -> TokenLoss:
    """Return PPO's clipped surrogate within the bounds that `bapo_bounds` found (Xi et al. 2025, arXiv 2510.18927).

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        bounds: Of the whole batch.
        dual_clip: Bound c of the loss of negative advantages, or None; the authors' recipe has 10.
    """
    return clipped_surrogate(ratio(logprob_K, old_K), advantage_K, bounds.lowest, bounds.highest, dual_clip=dual_clip)
