"""Pass@k by groups: only the best trajectory of a group learns, by how much it beats the second best."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit.estimators._broadcast import to_tokens
from agentrl_trainers.credit.estimators._ranked import ranked

EPSILON = 1e-6


def grpo_passk(batch: CreditBatch, *, singleton: Literal["zero", "refuse"] = "zero") -> torch.Tensor:
    """Return (r_max − r_second) / (std + 1e-6) for the tokens of the best of each group, 0 for all others.

    As verl's `grpo_passk`, after "Pass@k training" (arXiv 2503.19595); std with n−1. A tie at the top teaches nothing.

    Args:
        batch: Uses `group_N` and `reward_N`.
        singleton: A group of one has no second best. "zero": it teaches nothing; "refuse": an error, as in verl.

    Raises:
        ConfigError: A group of one, with "refuse".
    """
    if singleton not in ("zero", "refuse"):
        raise ConfigError(f'singleton = {singleton!r}: expected "zero" or "refuse" for groups of one')
    ranking = ranked(batch.reward_N, batch.group_N)
    if singleton == "refuse" and bool((ranking.count_N == 1).any()):
        raise ConfigError("grpo_passk needs at least 2 trajectories in every group, and there is a group of one")
    best_N = (ranking.rank_N == ranking.count_N - 1) & (ranking.count_N > 1)
    gain_N = ranking.relative_N - torch.roll(ranking.relative_N, 1)
    scaled_N = gain_N / (ranking.statistics.deviation_N[ranking.order_N] + EPSILON)
    advantage_N = torch.zeros_like(batch.reward_N)
    advantage_N[ranking.order_N] = torch.where(best_N, scaled_N, torch.zeros_like(scaled_N))
    return to_tokens(batch, advantage_N)
