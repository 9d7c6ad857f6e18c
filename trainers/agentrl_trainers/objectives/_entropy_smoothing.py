"""EPO's entropy smoothing: keep entropies within a corridor around their history. K = sampled tokens, S = sequences."""

from __future__ import annotations

import math

import torch

from agentrl_trainers.objectives._sequences import sequence_mean


def entropy_smoothing(
    entropy_K: torch.Tensor,
    history_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    low: float = 0.8,
    high: float = 1.2,
) -> torch.Tensor:
    """Return how far each entropy is outside (low·H̄, high·H̄), *with* a gradient into `entropy_K`; 0 inside.

    Xu et al. 2025 (EPO, arXiv 2509.22576) add it to the loss: PG − c·(H − κ·penalty), κ = 1. The authors' code puts a
    constant outside the corridor (`corridor_penalty`), which moves the value of the loss but has no gradient, so it
    smooths nothing. This is the hinge of the same corridor: outside it the gradient pushes back, inside it is 0. That
    shape is ours.

    Args:
        entropy_K: Entropies in nats, with gradient.
        history_K: H̄: mean entropy so far at the same turn number.
        sequence_K: Where given, the corridor is for the mean entropy of each sequence.
        low: Lower edge as a multiple of H̄.
        high: Upper edge.
    """
    value_K = entropy_K if sequence_K is None else sequence_mean(entropy_K, sequence_K)[sequence_K]
    return (value_K - high * history_K).clamp(min=0) + (low * history_K - value_K).clamp(min=0)


def corridor_penalty(
    entropy_K: torch.Tensor,
    history_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    low: float = 0.8,
    high: float = 1.2,
    outside: float = 0.1,
) -> torch.Tensor:
    """Return the constant penalty of the authors' code: 0 within the corridor, `outside` elsewhere; it has no gradient.

    For comparison with their figures, and for counting how much is outside; to train, use `entropy_smoothing`.
    Arguments as there.
    """
    value_K = entropy_K.detach()
    if sequence_K is not None:
        value_K = sequence_mean(value_K, sequence_K)[sequence_K]
    inside_K = (value_K > low * history_K) & (value_K < high * history_K)
    return outside * (~inside_K).to(entropy_K)


def smoothing_weight(step: int, steps: int) -> float:
    """Return EPO's weight of the penalty at a step: from 1 to about .83 in the first half, then down to .04.

    First half: 1 − .2·(1 − e^(−2p)); second: .8·e^(−3p); p is the progress within the half.

    Args:
        step: From 0; held within [0, steps].
        steps: Length of training; 0 = weight 1.
    """
    if steps <= 0:
        return 1.0
    step, half = min(max(step, 0), steps), steps // 2
    if step <= half:
        return 1 - 0.2 * (1 - math.exp(-2 * step / half)) if half else 1.0
    return 0.8 * math.exp(-3 * (step - half) / (steps - half))
