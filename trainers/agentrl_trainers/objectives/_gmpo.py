"""GMPO: the geometric mean of token ratios, clipped by token. K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._sequences import geometric_ratio, need_sequences, sequence_mean
from agentrl_trainers.objectives._token_loss import TokenLoss


def gmpo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    clip_low: float = 0.4,
    clip_high: float = 0.4,
) -> TokenLoss:
    """Return −Ā·exp(mean x̃) on each token, x̃ the log-ratio clipped to [−ε_low, ε_high] where that lowers the gain.

    Zhao et al. 2025 (arXiv 2507.20673). Clipping only acts in the direction of the advantage: for A > 0 above ε_high,
    for A < 0 below −ε_low, and for A = 0 the token drops out of the mean. Ā is the sequence's mean advantage. A clipped
    token has no gradient. Aggregate "seq-mean-token-mean".

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        sequence_K: Sequence of each token; see `geometric_ratio` for its unit.
        clip_low: Range of the *log*-ratio below 0.
        clip_high: Range of the log-ratio above 0.

    Raises:
        ValueError: No `sequence_K`.
    """
    sequence_K = need_sequences(sequence_K, "gmpo")
    gap_K = logprob_K - old_K.detach()
    clamped_K = gap_K.clamp(-clip_low, clip_high)
    sign_K = advantage_K.sign()
    held_K = sign_K * torch.minimum(sign_K * gap_K, sign_K * clamped_K)
    mean_K = sequence_mean(advantage_K, sequence_K)[sequence_K]
    loss_K = -mean_K * geometric_ratio(held_K, sequence_K)
    return TokenLoss.of(loss_K, clipped_K=gap_K.detach() != clamped_K.detach())
