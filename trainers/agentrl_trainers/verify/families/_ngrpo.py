"""Golden figures of NGRPO's advantages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrl_trainers.credit.estimators import ngrpo
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded_rows import padded_rows


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case; keys are `max=1.0|n=1`."""
    rows = padded_rows(inputs["response_mask"], inputs["token_level_rewards"], inputs["index"])
    found = {}
    for key in wanted:
        options = dict(field.split("=") for field in key.split("|"))
        found[key] = rows.padded(ngrpo(rows.batch, best_reward=float(options["max"]), virtual=int(float(options["n"]))))
    return found


FAMILY = Family("ngrpo", recompute)
