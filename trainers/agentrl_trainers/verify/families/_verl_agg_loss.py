"""Golden figures of aggregations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agentrl_trainers.objectives import Aggregation, Denominators
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case.

    The reference multiplies by the number of ranks, because its ranks average their gradients; ours add up.
    """
    rows = Padded(inputs["loss_mask"])
    loss_K = rows.flat(inputs["loss_mat"])
    found = {}
    for key in wanted:
        mode, _, tail = key.partition("|")
        options = {name: float(value) for name, value in (field.split("=") for field in tail.split(",") if field)}
        counts = Denominators(
            tokens=int(options.get("global_tokens", rows.denominators.tokens)),
            sequences=int(options.get("global_bs", rows.denominators.sequences)),
            length=options.get("scale", rows.denominators.length),
        )
        weight_K = rows.weights(cast(Aggregation, mode), counts)
        found[key] = float((weight_K * loss_K).sum()) * options.get("dp", 1.0)
    return found


FAMILY = Family("verl_agg_loss", recompute)
