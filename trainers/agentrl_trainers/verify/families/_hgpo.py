"""Golden figures of HGPO: advantages by mode, history, weight exponent and base group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

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


def bug_of_inputs(inputs: Mapping[str, Any], key: str) -> str | None:
    """Return why the reference counts a level in which nothing differs: its mean of equal numbers is another one."""
    batch = turn_rows(inputs).batch
    group_T = batch.group_N[batch.trajectory_T]
    compared = [discounted_returns(batch, batch.reward_T, float(inputs["gamma"])).float()]
    if "base_group=True" in key:
        # The reference takes every row of a trajectory for a sample.
        compared += [batch.reward_N[batch.trajectory_T], batch.reward_N[batch.trajectory_T].float()]
    for values_T in compared:
        for (_, value), count in Counter(zip(group_T.tolist(), values_T.tolist(), strict=True)).items():
            for size in range(2, count + 1):
                if torch.full((size,), value, dtype=values_T.dtype).mean().item() != value:
                    return (
                        "the reference tests for exactly 0, and takes the rounding error of the mean of equal returns "
                        "for an advantage that changes the weights (algorithms.md, section 7, pitfalls)"
                    )
    return None


FAMILY = Family("hgpo", recompute, bug_of_inputs=bug_of_inputs)
