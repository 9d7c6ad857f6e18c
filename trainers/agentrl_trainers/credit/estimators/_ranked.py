"""Trajectories of a group in order of their rewards. Axis legend: N = trajectories, G = groups."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agentrl_trainers.credit._segments import GroupStatistics, group_statistics


@dataclass(frozen=True)
class Ranking:
    """Rows sorted by group, and by reward within a group; equal rewards in the order of the batch.

    Attributes:
        order_N: Row at each sorted place.
        start_N: Sorted place of the first of the row's group.
        rank_N: Rank within the group, from 0 for the smallest reward.
        count_N: Size of the group.
        relative_N: Reward minus the mean of the group; exactly 0 in a group of equal rewards.
        statistics: Of the groups, in the order of the batch.

    All but `statistics` are in sorted order.
    """

    order_N: torch.Tensor
    start_N: torch.Tensor
    rank_N: torch.Tensor
    count_N: torch.Tensor
    relative_N: torch.Tensor
    statistics: GroupStatistics


def ranked(reward_N: torch.Tensor, group_N: torch.Tensor) -> Ranking:
    """Return the ranking of a batch."""
    by_reward = torch.argsort(reward_N, stable=True)
    order_N = by_reward[torch.argsort(group_N[by_reward], stable=True)]
    sorted_N = group_N[order_N]
    counts_G = torch.bincount(group_N)
    start_N = (counts_G.cumsum(0) - counts_G)[sorted_N]
    rank_N = torch.arange(len(order_N), device=order_N.device) - start_N
    statistics = group_statistics(reward_N, group_N)
    return Ranking(order_N, start_N, rank_N, counts_G[sorted_N], statistics.centred_N[order_N], statistics)
