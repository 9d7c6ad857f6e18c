"""From losses per token to one number: each mode is a weight per token, and the loss is the weighted sum.

The weights are made once for the whole global batch. So micro-batches and data-parallel ranks only add up, and cannot
re-normalise by their own counts. Axis legend: K = sampled tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from agentrl.errors import ConfigError

Aggregation = Literal["token-mean", "token-sum", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]


@dataclass(frozen=True)
class Denominators:
    """Global counts that a loss is divided by: over all micro-batches and all ranks, filtered tokens included.

    Attributes:
        tokens: Sampled tokens.
        sequences: Sequences with at least one sampled token.
        length: The constant of "seq-mean-token-sum-norm", e.g. the largest number of sampled tokens.
    """

    tokens: int
    sequences: int
    length: float = 1.0

    @classmethod
    def of(cls, sequence_K: torch.Tensor, length: float | None = None) -> Denominators:
        """Return the counts of a batch that is the whole global batch; `length` defaults to the longest sequence."""
        counts = torch.bincount(sequence_K) if sequence_K.numel() else sequence_K.new_zeros(1)
        return cls(int(sequence_K.numel()), int((counts > 0).sum()), float(counts.max()) if length is None else length)


def aggregation_weights(
    mode: Aggregation, sequence_K: torch.Tensor, denominators: Denominators, *, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return the weight of each token's loss [K].

    token-mean: 1/tokens. token-sum: 1, so that the step grows with the batch; for comparisons. seq-mean-token-mean:
    1/(sequences · tokens of its sequence). seq-mean-token-sum: 1/sequences. seq-mean-token-sum-norm (Dr.GRPO):
    1/(sequences · length).

    Args:
        mode: How losses are averaged.
        sequence_K: Sequence of each token (int64, from 0); a sequence is whole within one batch.
        denominators: Global counts; a batch that is all there is passes `Denominators.of(sequence_K)`.
        dtype: Of the weights.

    Raises:
        ConfigError: Unknown mode.
    """
    if mode not in get_args(Aggregation):
        raise ConfigError(f"aggregation {mode!r} is unknown; known: {', '.join(get_args(Aggregation))}")
    ones_K = torch.ones(sequence_K.shape, dtype=dtype, device=sequence_K.device)
    sequences = max(denominators.sequences, 1)
    if mode == "token-mean":
        return ones_K / max(denominators.tokens, 1)
    if mode == "token-sum":
        return ones_K
    if mode == "seq-mean-token-mean":
        return ones_K / (sequences * torch.bincount(sequence_K)[sequence_K].to(dtype))
    if mode == "seq-mean-token-sum":
        return ones_K / sequences
    return ones_K / (sequences * denominators.length)
