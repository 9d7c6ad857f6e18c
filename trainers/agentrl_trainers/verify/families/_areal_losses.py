"""Golden figures of AReaL's losses, M2PO's mask and the approximations of the proximal policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from agentrl_trainers.objectives import (
    TokenLoss,
    approximate_proximal,
    decoupled_ppo,
    gspo,
    m2po_mask,
    ppo_clip,
    sapo,
)
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded, mean

APPROXIMATIONS: tuple[Literal["loglinear", "linear", "rollout"], ...] = ("loglinear", "linear", "rollout")


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case. Losses are means over *all* valid tokens, filtered ones included."""
    rows = Padded(inputs["loss_mask"])
    found: dict[str, Any] = {}
    for key, outputs in wanted.items():
        name, *fields = key.split("|")
        if name == "m2po_mask":
            keep_K = m2po_mask(
                rows.flat(inputs["proximal_logprobs"]), rows.flat(inputs["old_logprobs"]), threshold=float(fields[0])
            )
            found[key] = rows.padded(keep_K)
        elif name == "prox_approx":
            found[key] = approximations(inputs, int(fields[0].split("=")[1]), outputs["versions"])
        else:
            found[key] = losses(rows, inputs, name, fields)
    return found


def losses(rows: Padded, inputs: Mapping[str, Any], name: str, fields: list[str]) -> dict[str, Any]:
    """Return the figures of a loss named in a key."""
    logprob_K = rows.flat(inputs["logprobs"]).requires_grad_()
    proximal_K, behaviour_K = rows.flat(inputs["proximal_logprobs"]), rows.flat(inputs["old_logprobs"])
    advantage_K = rows.flat(inputs["advantages"])
    result = token_loss(name, fields, logprob_K, proximal_K, behaviour_K, advantage_K, rows.sequence_K)
    loss = (rows.weights("token-mean") * result.loss_K).sum()
    (grad_K,) = torch.autograd.grad(loss, logprob_K)
    decoupled = name == "decoupled"
    return {
        "loss": loss.item(),
        "grad_logprobs": rows.padded(grad_K),
        "clip_mask": rows.padded(result.clipped_K),
        "dual_clip_mask": rows.padded(result.dual_clipped_K),
        "behave_imp_weight": rows.padded(result.importance_K) if decoupled else None,
        "filtered_fraction": mean(result.filtered_K) if decoupled else None,
    }


def token_loss(
    name: str,
    fields: list[str],
    logprob_K: torch.Tensor,
    proximal_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    advantage_K: torch.Tensor,
    sequence_K: torch.Tensor,
) -> TokenLoss:
    """Return the losses of `ppo|eps0.2_0.28|c3`, `decoupled|eps0.2|level=…`, `gspo|eps0.2`, `sapo|1.0_1.05|level=…`."""
    if name == "sapo":
        positive, negative = (float(figure) for figure in fields[0].split("_"))
        # The reference's SAPO knows one old policy only, which it calls proximal in this file.
        return sapo(
            logprob_K,
            proximal_K,
            advantage_K,
            sequence_K=sequence_K,
            temperature_positive=positive,
            temperature_negative=negative,
            level="sequence" if fields[1] == "level=sequence" else "token",
        )
    bounds = [float(figure) for figure in fields[0].removeprefix("eps").split("_")]
    clip: dict[str, Any] = {"clip_low": bounds[0], "clip_high": bounds[-1]}
    if name == "gspo":
        return gspo(logprob_K, proximal_K, advantage_K, sequence_K=sequence_K, average_advantage=True, **clip)
    if name == "ppo":
        dual = float(fields[1].removeprefix("c")) if len(fields) > 1 else None
        return ppo_clip(logprob_K, proximal_K, advantage_K, dual_clip=dual, **clip)
    asked = dict(field.split("=") for field in fields[1:])
    filters: dict[str, Any] = {
        "importance_level": asked["level"],
        "importance_action": asked["action"],
        "importance_metric": asked["metric"].removeprefix("kl_"),
        "importance_cap": None if asked["upper"] == "None" else float(asked["upper"]),
        "importance_floor": None if asked["lower"] == "None" else float(asked["lower"]),
    }
    return decoupled_ppo(logprob_K, proximal_K, behaviour_K, advantage_K, sequence_K=sequence_K, **clip, **filters)


def approximations(inputs: Mapping[str, Any], version: int, versions: Any) -> dict[str, Any]:
    """Return the three approximations for all positions. The versions are inputs that the file records as an output."""
    version_BL = torch.tensor(versions)
    logprob_BL, behaviour_BL = (torch.tensor(inputs[name]).double() for name in ("logprobs", "old_logprobs"))
    return {
        "versions": version_BL,
        **{
            kind: approximate_proximal(logprob_BL, behaviour_BL, version_BL, version, kind=kind)
            for kind in APPROXIMATIONS
        },
    }


FAMILY = Family("areal_losses", recompute)
