"""GiGPO: the episode against its group, plus each step against the others taken from the same state."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit._turns import discounted_returns
from agentrl_trainers.credit.estimators._broadcast import singletons
from agentrl_trainers.credit.estimators._relative import EPSILON, Normalisation, relative


def gigpo(
    batch: CreditBatch,
    *,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    mode: Normalisation = "mean_norm",
    cross_steps: bool = True,
    singleton: Literal["score", "zero"] = "score",
) -> torch.Tensor:
    """Return A = A^E + ω·A^S for every token (Feng et al. 2025, arXiv 2505.10978, eq. 9).

    A^E compares the reward R of an episode within its group. A^S compares the step returns G_t = Σ γ^(l−t)·r_l of
    turns that acted from the same state (equal `anchor_T`) within the group, across and within trajectories. A group
    of equal rewards has A^E = 0, but rewards short paths through A^S.

    Example, γ .95, mean_norm: A visits s0, s1 for rewards 0, 10; B visits s0, s2 for 0, 0. A gets 9.75, 5; B −9.75, −5.

    Args:
        batch: Uses rewards and `anchor_T`; a turn without anchor has A^S = 0.
        gamma: γ of the step return, over turns.
        step_weight: ω.
        mode: "mean_norm" (the authors' configuration and WebShop) or "mean_std_norm" (ALFWorld; unbiased std + 1e-6).
        cross_steps: Every turn contributes a copy of its episode's reward to the group's mean and std, so that long
            episodes weigh more (the authors' default); False: one per trajectory, as the paper writes it.
        singleton: Episode advantage where there is nothing to compare with: "score" is A^E = R, as in the reference.

    Raises:
        ConfigError: Unknown mode or choice.
    """
    step_T = step_advantages(batch, discounted_returns(batch, batch.reward_T, gamma), mode=mode)
    episode_T = episode_advantages(batch, mode=mode, cross_steps=cross_steps, singleton=singleton)
    return (episode_T + step_weight * step_T)[batch.turn_K]


def episode_advantages(
    batch: CreditBatch, *, mode: Normalisation, cross_steps: bool, singleton: Literal["score", "zero"] = "score"
) -> torch.Tensor:
    """Return A^E of each turn [T]: its episode's reward against the group; arguments as in `gigpo`."""
    reward_R, group_R = batch.reward_N, batch.group_N
    if cross_steps:
        reward_R, group_R = reward_R[batch.trajectory_T], group_R[batch.trajectory_T]
    statistics = group_statistics(reward_R, group_R)
    alone_R = reward_R if mode == "mean_norm" else reward_R / (1 + EPSILON)
    advantage_R = singletons(relative(statistics, mode), alone_R, statistics.count_N, singleton)
    return advantage_R if cross_steps else advantage_R[batch.trajectory_T]


def step_advantages(batch: CreditBatch, return_T: torch.Tensor, *, mode: Normalisation) -> torch.Tensor:
    """Return A^S of each turn [T]: its return against the turns that acted from the same state."""
    return relative(group_statistics(return_T, step_groups(batch)), mode)


def step_groups(batch: CreditBatch) -> torch.Tensor:
    """Return the step group of each turn (int64 [T]): same group, same state; without anchor it is alone."""
    turns = len(batch.anchor_T)
    states = int(batch.anchor_T.max()) + 1 if turns else 0
    alone_T = states + torch.arange(turns, device=batch.anchor_T.device)
    state_T = torch.where(batch.anchor_T < 0, alone_T, batch.anchor_T)
    return pair_index(batch.group_N[batch.trajectory_T], state_T)


def pair_index(first_T: torch.Tensor, second_T: torch.Tensor) -> torch.Tensor:
    """Return an index of the pairs of two non-negative numbers: equal pairs, and only those, have the same (int64)."""
    code_T = first_T * (int(second_T.max()) + 1 if second_T.numel() else 1) + second_T
    index_T: torch.Tensor = torch.unique(code_T, return_inverse=True)[1]
    return index_T
