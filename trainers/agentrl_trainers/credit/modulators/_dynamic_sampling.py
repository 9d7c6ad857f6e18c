"""DAPO's dynamic sampling and overlong filtering: groups and trajectories that teach nothing are left out."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit.modulators._selection import Count, keep, on_tokens


def varied_groups(batch: CreditBatch) -> torch.Tensor:
    """Return which trajectories are in a group whose rewards are not all equal (bool [N]); a group of one is not."""
    return group_statistics(batch.reward_N, batch.group_N).deviation_N > 0


def dynamic_sampling(batch: CreditBatch, advantage_K: torch.Tensor, *, count: Count = "tokens") -> torch.Tensor:
    """Leave out the groups whose members all got the same reward (Yu et al. 2025, arXiv 2503.14476, section 3.2).

    The paper goes on sampling until the batch is full of groups with 0 < passed < G; that half belongs to the rollouts.
    This half keeps a group without signal out of the mean, where it would shrink every other group's gradient.

    Args:
        batch: Uses `reward_N`.
        advantage_K: From any estimator.
        count: What the loss is divided by; see `keep`.

    Raises:
        ConfigError: Unknown count.
    """
    return keep(batch, advantage_K, on_tokens(batch, varied_groups(batch)), count)


def overlong_filtering(batch: CreditBatch, advantage_K: torch.Tensor, *, count: Count = "tokens") -> torch.Tensor:
    """Leave out trajectories that a limit ended: their reward says little of what they did (Yu et al. 2025).

    Args:
        batch: Uses `finished_N`.
        advantage_K: From any estimator; group statistics still see every trajectory.
        count: What the loss is divided by; see `keep`.

    Raises:
        ConfigError: Unknown count.
    """
    return keep(batch, advantage_K, on_tokens(batch, batch.finished_N), count)
