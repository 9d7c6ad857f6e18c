"""Golden figures of GVPO's regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.objectives import gvpo_residual, per_token, regression
from agentrl_trainers.objectives._sequences import sequence_mean, sequence_sum
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case; the reference adds up all groups."""
    rows = Padded(inputs["response_mask"])
    old_K, advantage_K = rows.flat(inputs["old_log_prob"]), rows.flat(inputs["centered_advantages"])
    groups = list(dict.fromkeys(inputs["uid"]))
    group_N = torch.tensor([groups.index(name) for name in inputs["uid"]])
    centred_N = sequence_mean(advantage_K, rows.sequence_K)

    def loss_of(logprob_K: torch.Tensor) -> torch.Tensor:
        gap_N = sequence_sum(logprob_K.detach() - old_K, rows.sequence_K)
        residual = gvpo_residual(gap_N, centred_N, group_N, beta=inputs["beta"])
        prepared = per_token(residual, rows.sequence_K)
        return regression(logprob_K, old_K, advantage_K, **prepared).loss_K.sum()

    loss, grad_BL = rows.gradient(inputs["log_prob"], loss_of)
    return {"loss": loss, "grad_log_prob": grad_BL}


FAMILY = Family("gvpo", recompute)
