"""Penalty of invalid actions."""

from __future__ import annotations

import dataclasses

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_sum


def invalid_actions(batch: CreditBatch, *, invalid_penalty: float = 0.1) -> CreditBatch:
    """Take a penalty from the turn, and so from the episode, for each action that could not be parsed or was refused.

    As GiGPO's code does for ALFWorld and WebShop (Feng et al. 2025, arXiv 2505.10978): 0.1 from the step's and from the
    episode's reward, before any return is computed.

    Args:
        batch: Uses `valid_T`.
        invalid_penalty: Taken per invalid action; 0 turns it off.
    """
    penalty_T = torch.where(batch.valid_T, 0.0, invalid_penalty).to(batch.reward_T.dtype)
    penalty_N = group_sum(penalty_T, batch.trajectory_T, len(batch.group_N))
    return dataclasses.replace(batch, reward_T=batch.reward_T - penalty_T, reward_N=batch.reward_N - penalty_N)
