"""Generalised advantage estimation over ragged rows. Axis legend: K = elements of all rows (tokens or turns)."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._scan import continues, following, reverse_scan


def advantages(
    reward_K: torch.Tensor,
    value_K: torch.Tensor,
    end_K: torch.Tensor,
    index_K: torch.Tensor,
    gamma: float,
    lam: float | torch.Tensor,
) -> torch.Tensor:
    """Return A_k = δ_k + γλ A_{k+1} with δ_k = r_k + γ V_{k+1} − V_k (Schulman et al. 2016, arXiv 1506.02438).

    Args:
        reward_K: Rewards.
        value_K: Values of the states before the elements.
        end_K: Value of what follows a row, read at its last element.
        index_K: Row of each element; rows are contiguous.
        gamma: Discount per element.
        lam: Trace decay, one for all or one per element.
    """
    follows_K = continues(index_K)
    delta_K = reward_K + gamma * following(value_K, follows_K, end_K) - value_K
    return reverse_scan(delta_K, gamma * lam * follows_K.to(delta_K.dtype))
