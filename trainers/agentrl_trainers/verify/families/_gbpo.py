"""Golden figures of GBPO: advantages, targets and loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.credit.estimators import grpo
from agentrl_trainers.objectives import TokenLoss, gbpo, median_relative
from agentrl_trainers.objectives._sequences import sequence_mean
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded, mean
from agentrl_trainers.verify.families._padded_rows import padded_rows


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case; keys are `temp=1.0|clip=0.2,0.28`."""
    rows = Padded(inputs["response_mask"])
    batch = padded_rows(inputs["response_mask"], inputs["token_level_rewards"], inputs["index"]).batch
    old_K, advantage_K = rows.flat(inputs["old_log_prob"]), grpo(batch)
    advantage_N = sequence_mean(advantage_K, rows.sequence_K)
    target_K = median_relative(advantage_N, batch.group_N)[rows.sequence_K]
    found: dict[str, Any] = {}
    for key in wanted:
        options = dict(field.split("=") for field in key.split("|"))
        temperature = float(options["temp"])
        low, high = (float(figure) for figure in options["clip"].split(","))
        results: list[TokenLoss] = []

        def loss_of(
            logprob_K: torch.Tensor,
            temperature: float = temperature,
            low: float = low,
            high: float = high,
            results: list[TokenLoss] = results,
        ) -> torch.Tensor:
            results.append(
                gbpo(
                    logprob_K,
                    old_K,
                    advantage_K,
                    target_K=target_K,
                    clip_low=low,
                    clip_high=high,
                    temperature=temperature,
                )
            )
            return (rows.weights("token-mean") * results[-1].loss_K).sum()

        loss, grad_BL = rows.gradient(inputs["log_prob"], loss_of)
        found[key] = {
            "advantages": rows.padded(advantage_K),
            "target_adv": rows.padded(target_K / temperature),
            "loss": loss,
            "clipfrac": mean(results[-1].clipped_K),
            "grad_log_prob": grad_BL,
        }
    return found


FAMILY = Family("gbpo", recompute)
