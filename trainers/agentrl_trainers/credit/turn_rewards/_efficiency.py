"""Efficiency discount: a solved task is worth more, the sooner it was solved."""

from __future__ import annotations

import dataclasses

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch


def efficiency_discount(batch: CreditBatch, *, efficiency: float = 0.995) -> CreditBatch:
    """Give every turn r_t = γ^(T−t)·R, t = 1..T (EAPO of IterResearch, Chen et al. 2025, arXiv 2511.07327).

    The last turn gets the whole reward R of its trajectory and earlier turns geometrically less, so that a turn taken
    on a short way to success is worth more than one on a detour. Turn rewards no longer sum to the trajectory's, which
    stays. Example: γ = .9, T = 3, R = 1 gives .81, .9, 1.

    The form is from a note on the paper and its abstract; the default γ is believed to be the paper's and was not
    confirmed.

    Args:
        batch: Uses `reward_N` and the structure of turns.
        efficiency: γ, within (0, 1].

    Raises:
        ConfigError: γ is out of range.
    """
    if not 0 < efficiency <= 1:
        raise ConfigError(f"efficiency = {efficiency}: expected a discount within (0, 1]")
    turns_N = torch.bincount(batch.trajectory_T, minlength=len(batch.group_N))
    left_T = turns_N[batch.trajectory_T] - 1 - batch.turn_T
    reward_T = batch.reward_N[batch.trajectory_T] * efficiency ** left_T.to(batch.reward_N.dtype)
    return dataclasses.replace(batch, reward_T=reward_T)
