"""OPO: the group baseline that minimises the variance of the gradient, approximated by lengths."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics, group_sum
from agentrl_trainers.credit._tokens import trajectory_of_tokens
from agentrl_trainers.credit.estimators._broadcast import singletons, to_tokens


def opo(batch: CreditBatch, *, singleton: Literal["score", "zero"] = "score") -> torch.Tensor:
    """Return A = s − Σ|o_j|s_j / Σ|o_j| for every token (Hao et al. 2025, arXiv 2505.23585).

    |o| counts sampled tokens. The paper is strictly on-policy, with neither clip nor KL.

    Args:
        batch: Uses `group_N`, `reward_N` and the numbers of tokens.
        singleton: Advantage in a group of one: "score" is A = s as in verl, "zero" is 0.
    """
    statistics = group_statistics(batch.reward_N, batch.group_N)
    groups = int(batch.group_N.max()) + 1 if len(batch.group_N) else 0
    trajectory_K = trajectory_of_tokens(batch)
    length_N = torch.bincount(trajectory_K, minlength=len(batch.reward_N)).to(batch.reward_N.dtype)
    # Relative to the plain mean, so that equal rewards give exactly 0.
    weighted_G = group_sum(length_N * statistics.centred_N, batch.group_N, groups)
    baseline_G = weighted_G / group_sum(length_N, batch.group_N, groups).clamp(min=1)
    relative_N = statistics.centred_N - baseline_G[batch.group_N]
    return to_tokens(batch, singletons(relative_N, batch.reward_N, statistics.count_N, singleton))
