"""ReMax: reward-to-go minus the reward of a greedy rollout of the same task."""

from __future__ import annotations

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._scan import continues, reverse_scan
from agentrl_trainers.credit._tokens import token_rewards, trajectory_of_tokens


def remax(batch: CreditBatch) -> torch.Tensor:
    """Return A_k = Σ_{i≥k} r_i − b for every token, b the greedy rollout's reward (Li et al. 2024, arXiv 2310.10505).

    Args:
        batch: Uses rewards and `baseline_N`.

    Raises:
        ConfigError: The batch has no baselines.
    """
    if batch.baseline_N is None:
        raise ConfigError("remax needs the reward of a greedy rollout of each task: the batch has no `baseline_N`")
    reward_K, trajectory_K = token_rewards(batch), trajectory_of_tokens(batch)
    return_K = reverse_scan(reward_K, continues(trajectory_K).to(reward_K.dtype))
    return return_K - batch.baseline_N[trajectory_K]
