"""What turn-level methods share. Axis legend: N = trajectories, T = turns of all trajectories, K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_sum


def last_turns(batch: CreditBatch) -> torch.Tensor:
    """Return which turns end their trajectory (bool [T])."""
    last_T = torch.ones_like(batch.trajectory_T, dtype=torch.bool)
    last_T[:-1] = batch.trajectory_T[1:] != batch.trajectory_T[:-1]
    return last_T


def following(batch: CreditBatch, values_T: torch.Tensor, end: float) -> torch.Tensor:
    """Return for each turn the value of the next turn of the same trajectory; `end` for a trajectory's last turn."""
    next_T = torch.full_like(values_T, end)
    next_T[:-1] = torch.where(last_turns(batch)[:-1], next_T[:-1], values_T[1:])
    return next_T


def tokens_of_turns(batch: CreditBatch) -> torch.Tensor:
    """Return the number of sampled tokens of each turn (int64 [T])."""
    return torch.bincount(batch.turn_K, minlength=len(batch.trajectory_T))


def turn_means(batch: CreditBatch, values_K: torch.Tensor) -> torch.Tensor:
    """Return the mean of each turn's tokens [T]; 0 for a turn without tokens."""
    turns = len(batch.trajectory_T)
    return group_sum(values_K, batch.turn_K, turns) / tokens_of_turns(batch).clamp(min=1)


def discounted_returns(batch: CreditBatch, reward_T: torch.Tensor, gamma: float | torch.Tensor) -> torch.Tensor:
    """Return G_t = r_t + γ_t·G_{t+1} over the turns of each trajectory [T].

    One step per turn of the longest trajectory, each over all trajectories at once.

    Args:
        batch: Uses `group_N`, `trajectory_T` and `turn_T`.
        reward_T: Reward of each turn.
        gamma: Discount from the next turn to this one: one number, or one per turn [T].
    """
    trajectories = len(batch.group_N)
    depth = int(batch.turn_T.max()) + 1 if batch.turn_T.numel() else 0
    place_T = batch.turn_T * trajectories + batch.trajectory_T
    reward_DN = reward_T.new_zeros(depth * trajectories).index_copy_(0, place_T, reward_T).view(depth, trajectories)
    discount_T = torch.as_tensor(gamma, dtype=reward_T.dtype, device=reward_T.device).expand_as(reward_T)
    discount_DN = torch.zeros_like(reward_DN).view(-1).index_copy_(0, place_T, discount_T).view_as(reward_DN)
    return_DN = torch.zeros_like(reward_DN)
    next_N = reward_T.new_zeros(trajectories)
    for turn in range(depth - 1, -1, -1):
        next_N = reward_DN[turn] + discount_DN[turn] * next_N
        return_DN[turn] = next_N
    return return_DN.view(-1)[place_T]
