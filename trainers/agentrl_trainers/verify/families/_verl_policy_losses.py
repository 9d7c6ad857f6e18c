"""Golden figures of verl's policy losses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import torch

from agentrl_trainers.objectives import (
    Aggregation,
    Denominators,
    TokenLoss,
    cispo,
    clip_cov,
    clip_cov_selection,
    correction_weights,
    dppo,
    dro,
    gmpo,
    gspo,
    kl,
    kl_cov,
    kl_cov_selection,
    policy_gradient,
    ppo_clip,
    sapo,
)
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded, mean

NUMBER = re.compile(r"(?<![a-z\d.])\d+(?:\.\d+)?(?:e-?\d+)?|(?<=[a-z])\d+(?:\.\d+)?")
TIS_UPPER = 1.1
"""What the weights of the keys `…_tis_w` are truncated at; the file does not say."""
OWN_AGGREGATION: dict[str, Aggregation] = {
    "gspo": "seq-mean-token-mean",
    "sapo": "seq-mean-token-mean",
    "gmpo": "seq-mean-token-mean",
}


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case; keys are `<objective>_<figures>|<aggregation>`."""
    rows = Padded(inputs["response_mask"])
    old_K, advantage_K = rows.flat(inputs["old_log_prob"]), rows.flat(inputs["advantages"])
    found: dict[str, Any] = {}
    for key in wanted:
        name, _, mode = key.partition("|")
        kind = name.split("_")[0]
        aggregation = OWN_AGGREGATION.get(kind, cast(Aggregation, mode))
        # The reference's GMPO averages over all rows, those without a valid token included.
        counts = Denominators(rows.denominators.tokens, len(rows.mask_BL)) if kind == "gmpo" else rows.denominators
        weight_K = rows.weights(aggregation, counts)
        logprob_K = rows.flat(inputs["log_prob"]).requires_grad_()
        result = token_loss(name, logprob_K, old_K, advantage_K, rows.sequence_K)
        outputs: dict[str, Any] = {}
        if name.endswith("_tis_w"):
            # Weights are recorded before masking, so they are computed for padding, too.
            old_BL, rollout_BL = (torch.tensor(inputs[name]).double() for name in ("old_log_prob", "rollout_log_prob"))
            weight_BL = correction_weights(old_BL.flatten(), rollout_BL.flatten(), upper=TIS_UPPER).weight_K.view_as(
                old_BL
            )
            result = result.weighted(rows.flat(weight_BL))
            outputs["rollout_is_weights"] = weight_BL
        loss = (weight_K * result.loss_K).sum()
        (grad_K,) = torch.autograd.grad(loss, logprob_K)
        outputs |= {
            "loss": loss.item(),
            "grad_log_prob": rows.padded(grad_K),
            "metrics": metrics(kind, name, result, logprob_K.detach(), old_K, advantage_K),
        }
        found[key] = outputs
    return found


def token_loss(
    name: str, logprob_K: torch.Tensor, old_K: torch.Tensor, advantage_K: torch.Tensor, sequence_K: torch.Tensor
) -> TokenLoss:
    """Return the losses of an objective named as in the keys, e.g. "gspo_3e-4_4e-4"."""
    given = (logprob_K, old_K, advantage_K)
    figures = [float(figure) for figure in NUMBER.findall(name)]
    match name.split("_"):
        case ["ppo", *_]:
            clip, dual = figures
            return ppo_clip(*given, clip_low=clip, clip_high=clip, dual_clip=dual)
        case ["dapo", *_]:
            low, high = figures
            return ppo_clip(*given, clip_low=low, clip_high=high, dual_clip=10.0)
        case ["gspo", *_]:
            low, high = figures
            return gspo(*given, sequence_K=sequence_K, clip_low=low, clip_high=high)
        case ["sapo", *_]:
            positive, negative = figures
            return sapo(*given, temperature_positive=positive, temperature_negative=negative)
        case ["cispo", *_]:
            low, high = figures
            return cispo(*given, clip_low=low, clip_high=high)
        case ["gmpo", *_]:
            low, high = figures
            return gmpo(*given, sequence_K=sequence_K, clip_low=low, clip_high=high)
        case ["dppo", divergence, *_]:
            bound, cap = figures
            return dppo(*given, low=bound, high=bound, cap=cap, divergence="kl" if divergence == "kl" else "tv")
        case ["kl", "cov", *_]:
            fraction, coefficient = figures
            chosen_K = kl_cov_selection(logprob_K, advantage_K, fraction=fraction)
            return kl_cov(*given, selected_K=chosen_K, coefficient=coefficient)
        case ["clip", "cov", *_]:
            fraction, low, high = figures
            # Figures with a fraction below 1 would depend on the reference's random numbers.
            chosen_K = clip_cov_selection(*given, fraction=fraction, low=low, high=high)
            return clip_cov(*given, selected_K=chosen_K)
        case ["gpg"]:
            return policy_gradient(*given)
        case ["dro", *_]:
            return dro(*given, beta=figures[0])
    raise ValueError(f"no objective for the key {name!r}")


def metrics(
    kind: str,
    name: str,
    result: TokenLoss,
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
) -> dict[str, float]:
    """Return what the reference reports of an objective."""
    if kind == "gpg":
        return {}
    if kind == "kl":
        return {"actor/ppo_kl": mean(kl(logprob_K, old_K, "abs"))}
    divergence = {"actor/ppo_kl": mean(kl(old_K, logprob_K, "k1"))}
    if kind == "dro":
        return divergence
    if kind == "clip":
        return divergence | {"actor/pg_clipfrac": mean(result.filtered_K)}
    clipped_K, lower_K = result.clipped_K, result.dual_clipped_K
    if kind == "gmpo":
        clipped_K, lower_K = clipped_K & (advantage_K > 0), clipped_K & (advantage_K < 0)
    return divergence | {"actor/pg_clipfrac": mean(clipped_K), "actor/pg_clipfrac_lower": mean(lower_K)}


FAMILY = Family("verl_policy_losses", recompute)
