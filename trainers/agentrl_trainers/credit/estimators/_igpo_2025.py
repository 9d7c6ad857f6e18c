"""IGPO as its authors first released it: token-level returns against the group's mean at the same position."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics, group_sum
from agentrl_trainers.credit._turns import discounted_returns, following, tokens_of_turns
from agentrl_trainers.credit.estimators._relative import EPSILON


def igpo_2025(
    batch: CreditBatch, *, gamma: float = 1.0, baseline: Literal["position", "start"] = "position"
) -> torch.Tensor:
    """Return token-level returns against their group (code of 2025-11). Kept for comparison: prefer `igpo`.

    It is not what the paper describes. "position": G_k minus the mean of the group's returns at the k-th sampled token,
    a trajectory that has ended counting as 0; no std. "start" (in that release, but unused): (G_k − mean G_0)/(std G_0
    + 1e-6), unbiased. That code also cut returns at tool tokens; this does not.

    Args:
        batch: Uses `reward_T`, from `information_gain`; each reward sits on its turn's last token.
        gamma: Discount per token.
        baseline: What a return is compared with.

    Raises:
        ConfigError: Unknown baseline.
    """
    if baseline not in ("position", "start"):
        raise ConfigError(f'baseline = {baseline!r}: expected "position" or "start"')
    return_K = token_returns(batch, gamma)
    trajectory_K = batch.trajectory_T[batch.turn_K]
    trajectories = len(batch.group_N)
    length_N = torch.bincount(trajectory_K, minlength=trajectories)
    first_N = length_N.cumsum(0) - length_N
    if baseline == "start":
        start_N = return_K[first_N.clamp(max=max(len(return_K) - 1, 0))]
        statistics = group_statistics(start_N, batch.group_N)
        mean_N = start_N - statistics.centred_N
        deviation_N = torch.where(statistics.count_N > 1, statistics.deviation_N, 1.0)
        return (return_K - mean_N[trajectory_K]) / (deviation_N[trajectory_K] + EPSILON)
    position_K = torch.arange(len(return_K), device=return_K.device) - first_N[trajectory_K]
    group_K = batch.group_N[trajectory_K]
    members_K = torch.bincount(batch.group_N)[group_K]
    longest = int(length_N.max()) if length_N.numel() else 0
    place_K = group_K * longest + position_K
    places = (int(batch.group_N.max()) + 1 if batch.group_N.numel() else 0) * longest
    return return_K - group_sum(return_K, place_K, places)[place_K] / members_K


def token_returns(batch: CreditBatch, gamma: float) -> torch.Tensor:
    """Return G_k = r_k + γ·G_{k+1} over a trajectory's sampled tokens [K]; rewards sit on last tokens of turns."""
    tokens_T = tokens_of_turns(batch)
    discount_T = gamma ** following(batch, tokens_T, 0).to(batch.reward_T.dtype)
    end_T = discounted_returns(batch, batch.reward_T, discount_T)
    after_K = tokens_T.cumsum(0)[batch.turn_K] - 1 - torch.arange(len(batch.turn_K), device=batch.turn_K.device)
    return end_T[batch.turn_K] * gamma ** after_K.to(batch.reward_T.dtype)
