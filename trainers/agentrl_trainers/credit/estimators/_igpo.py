"""IGPO: turn rewards normalised within the group and accumulated over the turns that follow."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit._turns import discounted_returns, last_turns
from agentrl_trainers.credit.estimators._relative import EPSILON, population_deviation


def igpo(
    batch: CreditBatch,
    *,
    normalisation: Literal["separate", "joint"] = "separate",
    scale_by_std: bool = True,
    gamma: float = 1.0,
) -> torch.Tensor:
    """Return A_t = r̃_t + γ·A_{t+1} for the tokens of turn t (Wang et al. 2025, arXiv 2510.14967; code of 2026-02).

    r̃ are the rewards of turns, normalised within the group: minus mean, divided by sqrt(population variance + 1e-8) +
    1e-6; where there is one reward only, by 1. The last turn of a trajectory holds its outcome; turn ends are data, so
    a reward that is exactly 0 keeps its turn. A turn whose information is unknown has no reward and counts as the
    beginning of the turn after it.

    Example, gains .2325 and −.0353 with outcomes 1 and 0: separate gives (2, 1) and (−2, −1); joint gives
    (1.519, 1.679) and (−1.519, −.717): a positive gain there becomes a negative reward, since outcomes set the scale.

    Args:
        batch: Uses `reward_T`, from `information_gain`, and `information_T`: unknown gains stay out of the statistics.
        normalisation: "separate" (the authors' later default): gains and outcomes each by their own mean and std;
            "joint" (the paper): all together.
        scale_by_std: False only centres.
        gamma: γ, over turns.

    Raises:
        ConfigError: Unknown normalisation.
    """
    if normalisation not in ("separate", "joint"):
        raise ConfigError(f'normalisation = {normalisation!r}: expected "separate" or "joint"')
    last_T = last_turns(batch)
    known_T = torch.ones_like(last_T) if batch.information_T is None else last_T | ~batch.information_T.isnan()
    group_T = batch.group_N[batch.trajectory_T]
    set_T = group_T * 2 + last_T if normalisation == "separate" else group_T
    statistics = group_statistics(batch.reward_T[known_T], set_T[known_T])
    scale = (population_deviation(statistics).square() + 1e-8).sqrt()
    scale = torch.where(statistics.count_N > 1, scale, 1.0) + EPSILON
    normalised = statistics.centred_N / scale if scale_by_std else statistics.centred_N
    reward_T = torch.zeros_like(batch.reward_T).masked_scatter_(known_T, normalised)
    discount_T = torch.where(known_T, gamma, 1.0).to(reward_T.dtype)
    return discounted_returns(batch, reward_T, discount_T)[batch.turn_K]
