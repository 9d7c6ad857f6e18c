"""GRPO: a trajectory's reward relative to its group, in units of the group's standard deviation."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit.estimators._broadcast import singletons, to_tokens

EPSILON = 1e-6
"""Keeps the quotient finite in a group of equal rewards."""


def grpo(batch: CreditBatch, *, singleton: Literal["score", "zero"] = "score") -> torch.Tensor:
    """Return A = (s − mean) / (std + 1e-6) for every token, std with n−1 (Shao et al. 2024, arXiv 2402.03300).

    A group of equal rewards gets exactly 0.

    Args:
        batch: Uses `group_N` and `reward_N`.
        singleton: A group of one has nothing to be compared with. "score": A = s, as verl does (mean 0, std 1);
            "zero": it teaches nothing.
    """
    statistics = group_statistics(batch.reward_N, batch.group_N)
    relative_N = statistics.centred_N / (statistics.deviation_N + EPSILON)
    alone_N = batch.reward_N / (1 + EPSILON)
    return to_tokens(batch, singletons(relative_N, alone_N, statistics.count_N, singleton))
