"""AEPO's entropy-balanced advantage: uncertain tokens learn more."""

from __future__ import annotations

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch


def entropy_balance(batch: CreditBatch, advantage_K: torch.Tensor, *, entropy_weight: float = 0.2) -> torch.Tensor:
    """Return A·(1 + c·z(H)), z over the sampled tokens of the batch (unbiased std; Dong et al. 2025, arXiv 2510.14545).

    The authors' code was not at hand: the formula was checked against a public port. Equal entropies have z = 0.

    Args:
        batch: Uses `entropy_K`.
        advantage_K: From any estimator.
        entropy_weight: c.

    Raises:
        ConfigError: The batch has no entropies.
    """
    if batch.entropy_K is None:
        raise ConfigError("aepo needs the entropy of every sampled token: use an engine that reports entropies")
    if batch.entropy_K.numel() < 2:
        return advantage_K
    entropy_K = batch.entropy_K.to(advantage_K.dtype)
    # Relative to the smallest, so that equal entropies give exactly 0 and not a rounding error over a tiny deviation.
    centred_K = entropy_K - entropy_K.min()
    centred_K = centred_K - centred_K.mean()
    deviation = (centred_K.square().sum() / (len(centred_K) - 1)).sqrt()
    score_K = centred_K / torch.where(deviation == 0, torch.ones_like(deviation), deviation)
    return advantage_K * (1 + entropy_weight * score_K)
