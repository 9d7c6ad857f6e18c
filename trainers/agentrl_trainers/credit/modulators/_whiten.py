"""Whitening over the sampled tokens of a batch."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch


def whiten(batch: CreditBatch, advantage_K: torch.Tensor) -> torch.Tensor:
    """Return (A − μ)/sqrt(σ² + 1e-8) with mean and unbiased variance over all sampled tokens of the batch.

    Environment tokens are not in `advantage_K`, so they do not enter the statistics (verl `masked_whiten`). Fewer than
    two tokens have no variance: they are only centred.
    """
    centred_K = advantage_K - advantage_K.mean() if advantage_K.numel() else advantage_K
    variance = centred_K.square().sum() / max(advantage_K.numel() - 1, 1)
    return centred_K * torch.rsqrt(variance + 1e-8)
