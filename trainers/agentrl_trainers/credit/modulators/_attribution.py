"""ARPO's hard attribution: a token that several branches share has one advantage."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch


def hard_attribution(batch: CreditBatch, advantage_K: torch.Tensor) -> torch.Tensor:
    """Give every token the mean advantage of the branches that run through it (Dong et al. 2025, arXiv 2507.19849).

    Tokens on one branch only keep theirs. Soft attribution, the authors' default, is to change nothing: a shared token
    occurs once per branch, with the same ratio, so that its gradient is that of the mean; the two differ only where a
    clip takes effect.

    Args:
        batch: Uses `shared_K`; None means that no token is shared.
        advantage_K: From any estimator.
    """
    if batch.shared_K is None:
        return advantage_K
    total_K = torch.zeros_like(advantage_K).index_add_(0, batch.shared_K, advantage_K)
    copies_K = torch.bincount(batch.shared_K, minlength=len(advantage_K))
    mean_K = (total_K / copies_K.clamp(min=1))[batch.shared_K]
    return torch.where(copies_K[batch.shared_K] > 1, mean_K, advantage_K)
