"""Golden figures of HGPO: advantages by mode, history, weight exponent and base group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrl_trainers.credit import COMPOSITIONS
from agentrl_trainers.credit._turns import discounted_returns
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._turn_rows import options, turn_rows


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    rows = turn_rows(inputs)
    gamma = float(inputs["gamma"])
    found: dict[str, Any] = {}
    for key in wanted:
        if key == "step_discounted_returns":
            found[key] = rows.by_row(discounted_returns(rows.batch, rows.batch.reward_T, gamma))
        elif key.startswith("hgpo|"):
            asked = options(key)
            advantage_K = COMPOSITIONS["hgpo"](
                rows.batch,
                gamma=gamma,
                mode=asked["mode"],
                history=int(asked["history"]),
                alpha=float(asked["alpha"]),
                base_group=asked["base_group"] == "True",
            )
            found[key] = rows.padded(advantage_K)
    return found


FAMILY = Family("hgpo", recompute)
