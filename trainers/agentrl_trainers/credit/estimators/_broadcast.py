"""What the group-relative estimators share. Axis legend: N = trajectories, K = sampled tokens."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch


def to_tokens(batch: CreditBatch, advantage_N: torch.Tensor) -> torch.Tensor:
    """Return each trajectory's advantage on all of its sampled tokens [K]."""
    return advantage_N[batch.trajectory_T[batch.turn_K]]


def singletons(
    relative_N: torch.Tensor, score_N: torch.Tensor, count_N: torch.Tensor, choice: Literal["score", "zero"]
) -> torch.Tensor:
    """Return `relative_N`, with the chosen advantage where a trajectory is alone in its group."""
    if choice not in ("score", "zero"):
        raise ConfigError(f'singleton = {choice!r}: expected "score" (A = s) or "zero" (A = 0) for groups of one')
    alone_N = score_N if choice == "score" else torch.zeros_like(score_N)
    return torch.where(count_N == 1, alone_N, relative_N)
