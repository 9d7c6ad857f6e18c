"""Golden figures of A*-PO: optimal values and the regression on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.objectives import astar_residual, optimal_value, per_token, regression
from agentrl_trainers.objectives._sequences import sequence_sum
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    rows = Padded(inputs["response_mask"])
    reference_K = rows.flat(inputs["ref_log_prob"])
    offline_PN = torch.tensor(inputs["offline_ref_rewards"], dtype=torch.float64)
    value_N = optimal_value(offline_PN, beta=inputs["beta1"])
    advantage_N = torch.tensor(inputs["token_level_rewards"], dtype=torch.float64).sum(-1) - value_N

    def loss_of(logprob_K: torch.Tensor) -> torch.Tensor:
        gap_N = sequence_sum(logprob_K.detach() - reference_K, rows.sequence_K)
        prepared = per_token(astar_residual(gap_N, advantage_N, beta=inputs["beta2"]), rows.sequence_K)
        losses = regression(logprob_K, reference_K, advantage_N[rows.sequence_K], **prepared)
        return (rows.weights("seq-mean-token-sum") * losses.loss_K).sum()

    loss, grad_BL = rows.gradient(inputs["log_prob"], loss_of)
    return {"v_star": value_N, "loss": loss, "grad_log_prob": grad_BL}


FAMILY = Family("astar_po", recompute)
