"""Rewards and ends as seen from sampled tokens.

Axis legend: N = trajectories, T = turns, U = turns with at least one sampled token, K = sampled tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._scan import continues
from agentrl_trainers.credit._segments import group_sum

Truncated = Literal["end", "bootstrap"]
"""What follows the last token of a trajectory that a limit ended: nothing (value 0), or what the critic expects."""


def trajectory_of_tokens(batch: CreditBatch) -> torch.Tensor:
    """Return the trajectory of each sampled token [K]."""
    return batch.trajectory_T[batch.turn_K]


def token_rewards(batch: CreditBatch) -> torch.Tensor:
    """Return the reward of each sampled token [K]: `reward_K`, or each turn's reward on its last sampled token.

    The reward of a turn in which nothing was sampled goes to the last token sampled before it in the trajectory, and
    is dropped where there is none: a reward on a token that is not trained on would be lost in every recursion.
    """
    if batch.reward_K is not None:
        return batch.reward_K
    reward_K = batch.reward_T.new_zeros(len(batch.turn_K))
    if not len(reward_K):
        return reward_K
    last_T = torch.bincount(batch.turn_K, minlength=len(batch.reward_T)).cumsum(0) - 1
    home_T = (last_T >= 0) & (trajectory_of_tokens(batch)[last_T.clamp(min=0)] == batch.trajectory_T)
    return reward_K.index_add_(0, last_T[home_T], batch.reward_T[home_T])


def values(batch: CreditBatch) -> torch.Tensor:
    """Return the critic's values [K].

    Raises:
        ConfigError: There are none.
    """
    if batch.value_K is None:
        raise ConfigError("this credit method needs a critic's values: set `[trainer.critic] kind`")
    return batch.value_K


def end_values(batch: CreditBatch, value_K: torch.Tensor, index_K: torch.Tensor, truncated: Truncated) -> torch.Tensor:
    """Return the value of what follows the last token of each trajectory, on all of its elements [K].

    0 after an episode that ended. After one that a limit cut, with "bootstrap": `bootstrap_N` where the critic gave
    it, else the value of the last element itself, V(s_l) ≈ V(s_{l−1}).

    Args:
        batch: Uses `finished_N` and `bootstrap_N`.
        value_K: Values of the elements (tokens or turns).
        index_K: Trajectory of each element.
        truncated: Whether to bootstrap.
    """
    if truncated not in ("end", "bootstrap"):
        raise ConfigError(f'truncated = {truncated!r}: expected "end" or "bootstrap"')
    if truncated == "end":
        return torch.zeros_like(value_K)
    beyond_K = value_K if batch.bootstrap_N is None else batch.bootstrap_N[index_K]
    return torch.where(batch.finished_N[index_K], torch.zeros_like(value_K), beyond_K)


@dataclass(frozen=True)
class SampledTurns:
    """The turns in which something was sampled.

    Attributes:
        turn_K: Number among them of each token's turn.
        first_U, last_U: Their first and last token.
        trajectory_U: Their trajectory.
        reward_U: Sum of the rewards of their tokens.
    """

    turn_K: torch.Tensor
    first_U: torch.Tensor
    last_U: torch.Tensor
    trajectory_U: torch.Tensor
    reward_U: torch.Tensor


def sampled_turns(batch: CreditBatch) -> SampledTurns:
    """Return the turns with sampled tokens, in order; rewards of the others are moved as `token_rewards` says."""
    last_K = ~continues(batch.turn_K)
    last_U = torch.nonzero(last_K).flatten()
    first_U = torch.cat([last_U.new_zeros(len(last_U[:1])), last_U[:-1] + 1])
    turn_K = torch.repeat_interleave(torch.arange(len(last_U), device=last_U.device), last_U - first_U + 1)
    return SampledTurns(
        turn_K=turn_K,
        first_U=first_U,
        last_U=last_U,
        trajectory_U=trajectory_of_tokens(batch)[last_U],
        reward_U=group_sum(token_rewards(batch), turn_K, len(last_U)),
    )
