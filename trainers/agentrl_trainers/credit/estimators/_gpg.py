"""GPG: group-centred rewards, scaled up where most rewards of the batch are zero."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit.estimators._broadcast import singletons, to_tokens


def gpg(batch: CreditBatch, *, f_norm: float = 1.0, singleton: Literal["score", "zero"] = "score") -> torch.Tensor:
    """Return A = α (s − mean) / F_norm for every token (Chu et al. 2025, arXiv 2504.02546), as in verl.

    α = trajectories / trajectories with a reward other than 0, over the whole batch.

    Args:
        batch: Uses `group_N` and `reward_N`.
        f_norm: Constant that divides.
        singleton: Advantage in a group of one: "score" is A = α s / F_norm, "zero" is 0.
    """
    statistics = group_statistics(batch.reward_N, batch.group_N)
    scale = len(batch.reward_N) / max(int(torch.count_nonzero(batch.reward_N)), 1) / f_norm
    relative_N = singletons(statistics.centred_N, batch.reward_N, statistics.count_N, singleton)
    return to_tokens(batch, scale * relative_N)
