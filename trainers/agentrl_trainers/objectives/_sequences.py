"""Statistics by sequence over flat tokens. Axis legend: K = sampled tokens, S = sequences.

What a sequence is, the caller decides by `sequence_K`. In the learner it is the *row*: one context window, whole within
its micro-batch. A trajectory of several segments is several rows then, each with a ratio of its own; the aggregation
still counts it as one sequence.
"""

from __future__ import annotations

import torch

SEQUENCE_BOUND = 10.0
"""Log-ratios of a sequence are held below 10 before exp."""


def sequence_sum(values_K: torch.Tensor, sequence_K: torch.Tensor) -> torch.Tensor:
    """Return the sum of each sequence [S], S being the largest index + 1."""
    count = int(sequence_K.max()) + 1 if sequence_K.numel() else 0
    return values_K.new_zeros(count).index_add(0, sequence_K, values_K)


def sequence_mean(values_K: torch.Tensor, sequence_K: torch.Tensor) -> torch.Tensor:
    """Return the mean of each sequence [S]; 0 where a sequence has no token."""
    total_S = sequence_sum(values_K, sequence_K)
    return total_S / sequence_sum(torch.ones_like(values_K), sequence_K).clamp(min=1)


def sequence_max(values_K: torch.Tensor, sequence_K: torch.Tensor) -> torch.Tensor:
    """Return the largest value of each sequence [S]; 0 where a sequence has no token."""
    count = int(sequence_K.max()) + 1 if sequence_K.numel() else 0
    return values_K.new_zeros(count).scatter_reduce(0, sequence_K, values_K, "amax", include_self=False)


def need_sequences(sequence_K: torch.Tensor | None, what: str) -> torch.Tensor:
    """Return `sequence_K`.

    Raises:
        ValueError: It was not given.
    """
    if sequence_K is None:
        raise ValueError(f"{what} needs sequence_K: the sequence of each token")
    return sequence_K


def geometric_ratio(log_ratio_K: torch.Tensor, sequence_K: torch.Tensor) -> torch.Tensor:
    """Return each sequence's geometric mean ratio on its tokens, in a form that micro-batches can add up.

    s = exp(mean log-ratio) is GSPO's ratio (Zheng et al. 2025, arXiv 2507.18071). Token k gets
    sg(s)·exp(x_k − sg(x_k)) with x its log-ratio: the value is s, and the gradients of a sequence's tokens, averaged,
    are the gradient of s. So a loss per token has the gradient of a loss per sequence.

    Args:
        log_ratio_K: Log-ratios, with gradient.
        sequence_K: Sequence of each token.
    """
    mean_K = sequence_mean(log_ratio_K.detach(), sequence_K)[sequence_K]
    return (mean_K + log_ratio_K - log_ratio_K.detach()).clamp(max=SEQUENCE_BOUND).exp()
