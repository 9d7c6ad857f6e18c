"""Information gain: how much a turn raised the policy's belief in the true answer."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._turns import following, last_turns

GainKind = Literal["prob_diff", "log_prob_diff"]


def information_gains(batch: CreditBatch, belief_T: torch.Tensor, *, gain: GainKind) -> torch.Tensor:
    """Return what each turn added to the belief in the true answer [T]; nan for the last turn of a trajectory.

    IGPO (Wang et al. 2025, arXiv 2510.14967). b_t = (1/L)·Σ log π(a_l | context before turn t, a_<l) is the mean
    log-prob of the answer's L tokens. "prob_diff" is exp(b_{t+1}) − exp(b_t), the paper's; "log_prob_diff" is
    b_{t+1} − b_t, the authors' later default.

    Args:
        batch: Structure of turns.
        belief_T: b before each turn; nan = not scored.
        gain: Which difference.

    Raises:
        ConfigError: Unknown kind of gain.
    """
    if gain not in get_args(GainKind):
        raise ConfigError(f"gain = {gain!r}: expected one of {', '.join(get_args(GainKind))}")
    score_T = belief_T.exp() if gain == "prob_diff" else belief_T
    return following(batch, score_T, torch.nan) - score_T


def information_gain(
    batch: CreditBatch,
    *,
    gain: GainKind = "log_prob_diff",
    information_weight: float = 1.0,
    outcome_weight: float = 1.0,
) -> CreditBatch:
    """Make information gains the rewards of turns, and the whole reward of a trajectory that of its last turn.

    A turn whose gain is unknown (its context left no room for the answer, say) gets none; without any, only the outcome
    is left. The authors' optional curriculum moves `outcome_weight` from .5 to 1 and `information_weight` from 1 to .5
    over training.

    Args:
        batch: Uses `information_T` where it has it, else `belief_T`.
        gain: Difference of probabilities or of log-probs; of no effect where the batch brings `information_T`.
        information_weight: Multiplies gains.
        outcome_weight: Multiplies outcomes.

    Raises:
        ConfigError: Nobody scored the answers.
    """
    if batch.information_T is not None:
        information_T = batch.information_T
    elif batch.belief_T is not None:
        information_T = information_gains(batch, batch.belief_T.to(batch.reward_T.dtype), gain=gain)
    else:
        raise ConfigError(
            "information gain needs the policy's belief in each true answer (CreditBatch.belief_T), and the batch has "
            "none: score the trajectories with `information_gain_scores` before credit"
        )
    last_T = last_turns(batch)
    information_T = information_T.masked_fill(last_T, torch.nan)
    outcome_T = outcome_weight * batch.reward_N[batch.trajectory_T]
    reward_T = torch.where(last_T, outcome_T, information_weight * information_T.nan_to_num(0.0))
    return dataclasses.replace(batch, information_T=information_T, reward_T=reward_T)
