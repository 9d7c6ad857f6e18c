"""What the stages share that change the outcome of trajectories. Axis legend: N = trajectories, T = turns."""

from __future__ import annotations

import dataclasses

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._turns import last_turns


def add_to_outcome(batch: CreditBatch, change_N: torch.Tensor) -> CreditBatch:
    """Return the batch with `change_N` added to each trajectory's reward, on its last turn."""
    change_T = torch.where(last_turns(batch), change_N[batch.trajectory_T], 0)
    return dataclasses.replace(batch, reward_N=batch.reward_N + change_N, reward_T=batch.reward_T + change_T)


def sampled_tokens(batch: CreditBatch) -> torch.Tensor:
    """Return the number of sampled tokens of each trajectory (int64 [N])."""
    return torch.bincount(batch.trajectory_T[batch.turn_K], minlength=len(batch.group_N))
