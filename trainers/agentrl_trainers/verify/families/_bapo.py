"""Golden figures of BAPO: the bound search and the loss within its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.objectives import TokenLoss, bapo, bapo_bounds, kl
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded, mean


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    rows = Padded(inputs["response_mask"])
    old_K, advantage_K = rows.flat(inputs["old_log_prob"]), rows.flat(inputs["advantages"])
    hyper = inputs["hyper"]
    now_K = rows.flat(inputs["log_prob"])
    bounds = bapo_bounds(
        now_K,
        old_K,
        advantage_K,
        target=hyper["adv_ratio_target"],
        lower_start=hyper["ratio_lower_start"],
        lower_max=hyper["ratio_lower_max"],
        lower_step=hyper["ratio_lower_step"],
        upper_start=hyper["ratio_upper_start"],
        upper_max=hyper["ratio_upper_max"],
        upper_step=hyper["ratio_upper_step"],
    )
    results: list[TokenLoss] = []

    def loss_of(logprob_K: torch.Tensor) -> torch.Tensor:
        results.append(bapo(logprob_K, old_K, advantage_K, bounds=bounds, dual_clip=inputs["clip_ratio_c"]))
        return (rows.weights("token-mean") * results[-1].loss_K).sum()

    loss, grad_BL = rows.gradient(inputs["log_prob"], loss_of)
    return {
        "loss": loss,
        "grad_log_prob": grad_BL,
        "clipfrac": mean(results[-1].clipped_K),
        "clipfrac_lower": mean(results[-1].dual_clipped_K),
        "ppo_kl": mean(kl(old_K, now_K, "k1")),
        "search": [
            {"clip_low": bounds.lowest, "clip_high": bounds.highest, "pos_neg_ratio": bounds.balance},
        ],
    }


FAMILY = Family("bapo", recompute)
