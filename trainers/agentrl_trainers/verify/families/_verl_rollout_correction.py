"""Golden figures of corrections between engine and trainer: weights, rejection masks, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrl_trainers.objectives import (
    Criterion,
    correction_weights,
    off_policy_metrics,
    rejection_mask,
    rejection_metrics,
    weight_metrics,
)
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case: `is_<level>|thr=…|bn=…`, `rs_<criteria>|thr=…`, `offpolicy_metrics`."""
    rows = Padded(inputs["response_mask"])
    trainer_K, engine_K = rows.flat(inputs["train_log_prob"]), rows.flat(inputs["rollout_log_prob"])
    found: dict[str, Any] = {}
    for key in wanted:
        name, *fields = key.split("|")
        options = dict(field.split("=") for field in fields)
        if name == "offpolicy_metrics":
            found[key] = off_policy_metrics(trainer_K, engine_K, rows.sequence_K)
        elif name.startswith("is_"):
            lower, _, upper = options["thr"].rpartition("_")
            bounds: dict[str, Any] = {
                "level": name.removeprefix("is_"),
                "upper": float(upper),
                "lower": float(lower) if lower else None,
            }
            normalise = options["bn"] == "True"
            correction = correction_weights(
                trainer_K, engine_K, sequence_K=rows.sequence_K, normalise=normalise, **bounds
            )
            figures = weight_metrics(correction, trainer_K, engine_K, rows.sequence_K, **bounds)
            if normalise:
                figures["batch_norm_factor"] = correction.factor
            found[key] = {
                "weights": rows.padded(correction.weight_K),
                "metrics": {f"rollout_is_{figure}": value for figure, value in figures.items()},
            }
        elif name.startswith("rs_"):
            criteria = Criterion.parse(name.removeprefix("rs_"), options["thr"])
            keep_K = rejection_mask(trainer_K, engine_K, rows.sequence_K, criteria)
            figures = rejection_metrics(trainer_K, engine_K, rows.sequence_K, criteria)
            found[key] = {
                "mask": rows.padded(keep_K.double()),
                "metrics": {f"rollout_rs_{figure}": value for figure, value in figures.items()},
            }
    return found


FAMILY = Family(
    "verl_rollout_correction",
    recompute,
    {
        "is_*/reference_raises": "the reference divides by zero in a metric where every weight is 0; here it is 0",
    },
)
