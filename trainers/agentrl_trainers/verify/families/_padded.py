"""Padded reference arrays as the flat ones of objectives. Axis legend: B = rows, L = padded length, K = tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from agentrl_trainers.objectives import Aggregation, Denominators, aggregation_weights


class Padded:
    """A mask of valid tokens, by which arrays are flattened and padded again.

    Attributes:
        mask_BL: Valid tokens.
        sequence_K: Row of each valid token.
        denominators: Counts of the batch, `length` being L; rows without a valid token do not count.
    """

    def __init__(self, mask: Any) -> None:
        self.mask_BL = torch.as_tensor(mask).bool()
        rows_B = torch.arange(len(self.mask_BL))
        self.sequence_K = rows_B[:, None].expand(self.mask_BL.shape)[self.mask_BL]
        self.denominators = Denominators.of(self.sequence_K, length=float(self.mask_BL.shape[1]))

    def flat(self, values: Any) -> torch.Tensor:
        """Return float64 values [K] of an array [B, L], or of one value per row [B]."""
        padded = torch.as_tensor(values, dtype=torch.float64)
        return padded[self.mask_BL] if padded.ndim == 2 else padded[self.sequence_K]

    def padded(self, values_K: torch.Tensor) -> torch.Tensor:
        """Return values [B, L], 0 (False) where the mask is off."""
        values_BL = values_K.new_zeros(self.mask_BL.shape)
        values_BL[self.mask_BL] = values_K.detach()
        return values_BL

    def weights(self, mode: Aggregation, denominators: Denominators | None = None) -> torch.Tensor:
        """Return aggregation weights [K]."""
        return aggregation_weights(mode, self.sequence_K, denominators or self.denominators, dtype=torch.float64)

    def gradient(self, logprobs: Any, loss_of: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, torch.Tensor]:
        """Return a scalar loss and its gradient [B, L] by log-probs [B, L]."""
        logprob_K = self.flat(logprobs).requires_grad_()
        loss = loss_of(logprob_K)
        (grad_K,) = torch.autograd.grad(loss, logprob_K)
        return loss.item(), self.padded(grad_K)


def mean(values: torch.Tensor) -> float:
    """Return the mean of numbers or flags, 0 of none."""
    return float(values.double().mean()) if values.numel() else 0.0
