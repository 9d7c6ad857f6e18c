"""Golden figures of GiGPO: step returns, step groups, and both halves of the advantage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrl_trainers.credit import COMPOSITIONS
from agentrl_trainers.credit._turns import discounted_returns
from agentrl_trainers.credit.estimators._gigpo import episode_advantages, step_advantages, step_groups
from agentrl_trainers.credit.estimators._relative import Normalisation
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._turn_rows import TurnRows, options, turn_rows


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    rows = turn_rows(inputs)
    return {key: value for key in wanted if (value := _output(rows, float(inputs["gamma"]), key)) is not None}


def _output(rows: TurnRows, gamma: float, key: str) -> Any:
    batch = rows.batch
    asked = options(key)
    mode: Normalisation = "mean_std_norm" if asked.get("mode") == "mean_std_norm" else "mean_norm"
    return_T = discounted_returns(batch, batch.reward_T, gamma)
    match key.split("|")[0]:
        case "step_discounted_returns":
            return rows.by_row(return_T)
        case "step_group_partition":
            return rows.by_row(step_groups(batch))
        case "step_norm":
            return rows.turns_to_rows(step_advantages(batch, return_T, mode=mode))
        case "episode_norm":
            episode_T = episode_advantages(batch, mode=mode, cross_steps=asked["cross_steps"] == "True")
            return rows.turns_to_rows(episode_T)
        case "gigpo":
            across = asked.get("cross_steps", "True") == "True"
            weight = float(asked["w"])
            return rows.padded(
                COMPOSITIONS["gigpo"](batch, gamma=gamma, mode=mode, step_weight=weight, cross_steps=across)
            )
    return None


FAMILY = Family("gigpo", recompute)
