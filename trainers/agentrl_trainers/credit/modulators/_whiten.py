"""Whitening over the sampled tokens of a batch."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch


def whiten(batch: CreditBatch, advantage_K: torch.Tensor) -> torch.Tensor:
    """Return (A − μ)/sqrt(σ² + 1e-8) with mean and unbiased variance over all sampled tokens of the batch.

    Environment tokens are not in `advantage_K`, so they do not enter the statistics (verl `masked_whiten`). Fewer than
    two tokens have no variance: they are only centred.
    """
    mean, scale = whitening(advantage_K)
    return (advantage_K - mean) * scale


def whitening(advantage_K: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean μ that whitening subtracts, and the factor 1/sqrt(σ² + 1e-8) by which it multiplies.

    The reference's mean divides by the count + 1e-8. In float32 that is the count, so that equal values, which are
    summed relative to the smallest, become exactly 0.
    """
    if not advantage_K.numel():
        return advantage_K.new_zeros(()), advantage_K.new_ones(())
    count = advantage_K.new_tensor(advantage_K.numel())
    smallest = advantage_K.min()
    mean = smallest * (count / (count + 1e-8)) + (advantage_K - smallest).sum() / (count + 1e-8)
    variance = (advantage_K - mean).square().sum() / (count - 1).clamp(min=1)
    return mean, torch.rsqrt(variance + 1e-8)
