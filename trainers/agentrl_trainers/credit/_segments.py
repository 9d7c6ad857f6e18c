"""Statistics over groups of rows, without loops: sums, means and standard deviations by group index.

Axis legend: N = rows (trajectories, turns or tokens), G = groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


def group_sum(values_N: torch.Tensor, group_N: torch.Tensor, groups: int) -> torch.Tensor:
    """Return the sum of the values of each group [G]."""
    return values_N.new_zeros(groups).index_add_(0, group_N, values_N)


@dataclass(frozen=True)
class GroupStatistics:
    """What a group-relative method needs of each row's group.

    Attributes:
        centred_N: Each value minus the mean of its group; exactly 0 where all values of the group are equal.
        deviation_N: Unbiased (n−1) standard deviation of the row's group; 0 in a group of one.
        count_N: Size of the row's group.
    """

    centred_N: torch.Tensor
    deviation_N: torch.Tensor
    count_N: torch.Tensor


def group_statistics(values_N: torch.Tensor, group_N: torch.Tensor) -> GroupStatistics:
    """Return mean-free values, standard deviations and sizes by group.

    Values are taken relative to their group's smallest before any sum. So equal values give exactly 0, not a rounding
    error that a division by a tiny deviation would blow up, and a constant added to a group changes nothing.
    """
    groups = int(group_N.max()) + 1 if group_N.numel() else 0
    smallest_G = values_N.new_full((groups,), torch.inf).scatter_reduce_(0, group_N, values_N, "amin")
    relative_N = values_N - smallest_G[group_N]
    count_N = group_sum(torch.ones_like(relative_N), group_N, groups)[group_N]
    centred_N = relative_N - group_sum(relative_N, group_N, groups)[group_N] / count_N
    squares_N = group_sum(centred_N.square(), group_N, groups)[group_N]
    return GroupStatistics(centred_N, (squares_N / (count_N - 1).clamp(min=1)).sqrt(), count_N)
