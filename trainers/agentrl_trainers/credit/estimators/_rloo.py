"""RLOO: a trajectory's reward minus the mean of the others of its group."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit.estimators._broadcast import singletons, to_tokens


def rloo(batch: CreditBatch, *, singleton: Literal["score", "zero"] = "score") -> torch.Tensor:
    """Return A = s − mean of the others = (s − mean)·n/(n−1) for every token (Ahmadian et al. 2024, arXiv 2402.14740).

    Args:
        batch: Uses `group_N` and `reward_N`.
        singleton: Advantage in a group of one: "score" is A = s as in verl, "zero" is 0.
    """
    statistics = group_statistics(batch.reward_N, batch.group_N)
    scale_N = statistics.count_N / (statistics.count_N - 1).clamp(min=1)
    return to_tokens(batch, singletons(statistics.centred_N * scale_N, batch.reward_N, statistics.count_N, singleton))
