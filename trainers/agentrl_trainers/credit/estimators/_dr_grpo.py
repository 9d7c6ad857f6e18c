"""Dr.GRPO: a trajectory's reward minus the mean of its group, without dividing by the deviation."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit.estimators._broadcast import singletons, to_tokens


def dr_grpo(batch: CreditBatch, *, singleton: Literal["score", "zero"] = "score") -> torch.Tensor:
    """Return A = s − mean for every token (Liu et al. 2025, arXiv 2503.20783).

    The paper pairs it with the aggregation "seq-mean-token-sum-norm", so that neither the difficulty of a task nor the
    length of an answer weighs a gradient.

    Args:
        batch: Uses `group_N` and `reward_N`.
        singleton: Advantage in a group of one: "score" is A = s as in verl, "zero" is 0.
    """
    statistics = group_statistics(batch.reward_N, batch.group_N)
    return to_tokens(batch, singletons(statistics.centred_N, batch.reward_N, statistics.count_N, singleton))
