"""A fixed reward for trajectories that break the format."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_sum
from agentrl_trainers.credit._turns import last_turns
from agentrl_trainers.credit.turn_rewards._outcome import add_to_outcome


def format_penalty(
    batch: CreditBatch, *, malformed_reward: float = -1.0, malformed: Literal["last", "any"] = "last"
) -> CreditBatch:
    """Give a trajectory of bad format a fixed reward, whatever it earned.

    ARPO's reward rule (Dong et al. 2025, arXiv 2507.19849) has −1; IGPO's code (arXiv 2510.14967) has −2 for an answer
    outside its tags.

    Args:
        batch: Uses `valid_T`.
        malformed_reward: The reward of such a trajectory.
        malformed: "last": the last action was invalid, i.e. there is no answer; "any": some action was.

    Raises:
        ConfigError: Unknown choice.
    """
    if malformed not in ("last", "any"):
        raise ConfigError(f'malformed = {malformed!r}: expected "last" or "any" action')
    broken_T = ~batch.valid_T & last_turns(batch) if malformed == "last" else ~batch.valid_T
    broken_N = group_sum(broken_T.to(batch.reward_N.dtype), batch.trajectory_T, len(batch.group_N)) > 0
    return add_to_outcome(batch, torch.where(broken_N, malformed_reward - batch.reward_N, 0))
