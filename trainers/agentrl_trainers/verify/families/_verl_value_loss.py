"""Golden figures of the clipped value loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch

from agentrl_trainers.objectives import Aggregation, value_loss
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded, mean


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case; keys are `clip0.2|<aggregation>`."""
    rows = Padded(inputs["response_mask"])
    old_K, return_K = rows.flat(inputs["values"]), rows.flat(inputs["returns"])
    found = {}
    for key in wanted:
        clip, _, mode = key.removeprefix("clip").partition("|")
        value_K = rows.flat(inputs["vpreds"]).requires_grad_()
        result = value_loss(value_K, old_K, return_K, clip=float(clip))
        loss = (rows.weights(cast(Aggregation, mode)) * result.loss_K).sum()
        (grad_K,) = torch.autograd.grad(loss, value_K)
        found[key] = {
            "loss": loss.item(),
            "clipfrac": mean(result.clipped_K),
            "grad_vpreds": rows.padded(grad_K),
        }
    return found


FAMILY = Family("verl_value_loss", recompute)
