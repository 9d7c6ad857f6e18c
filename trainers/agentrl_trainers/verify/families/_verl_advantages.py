"""Golden figures of verl's advantage estimators: GAE, and those that need no critic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from agentrl_trainers.credit import COMPOSITIONS
from agentrl_trainers.credit.estimators import gae, reinforce_pp, remax
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded_rows import PaddedRows, padded_rows

# The reference has two implementations of some methods.
PLAIN = {
    "grpo": "grpo",
    "grpo_vectorized": "grpo",
    "dr_grpo": "dr_grpo",
    "rloo": "rloo",
    "rloo_vectorized": "rloo",
    "opo": "opo",
    "gpg": "gpg",
    "reinforce_pp_baseline": "reinforce_pp_baseline",
}


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case. What is recorded of `reward_baselines` and the like are inputs of a method."""
    rows = padded_rows(inputs["response_mask"], inputs["token_level_rewards"], inputs["index"])
    found = {key: _output(rows, inputs, key, recorded) for key, recorded in wanted.items()}
    return {key: value for key, value in found.items() if value is not None}


def _output(rows: PaddedRows, inputs: Mapping[str, Any], key: str, recorded: Any) -> Any:
    if key in PLAIN:
        return rows.padded(COMPOSITIONS[PLAIN[key]](rows.batch, **_alone(key)))
    match key:
        case "grpo_passk":
            return rows.padded(COMPOSITIONS["grpo_passk"](rows.batch, singleton="refuse"))
        case "gae":
            return _gae(rows, inputs)
        case "reinforce_pp":
            returns = reinforce_pp(rows.batch, gamma=inputs["gamma"])
            advantages = COMPOSITIONS["reinforce_pp"](rows.batch, gamma=inputs["gamma"])
            return {"advantages": rows.padded(advantages), "returns": rows.padded(returns)}
        case "remax":
            return _remax(rows, recorded["reward_baselines"])
        case "optimal_token_baseline":
            return _optimal_token_baseline(rows, recorded)
    return None


def _alone(key: str) -> dict[str, str]:
    # The vectorised RLOO of the reference gives a group of one nothing.
    return {"singleton": "zero"} if key == "rloo_vectorized" else {}


def _gae(rows: PaddedRows, inputs: Mapping[str, Any]) -> dict[str, Any]:
    batch = replace(rows.batch, value_K=rows.flat(inputs["values"]))
    credit = gae(batch, gamma=inputs["gamma"], lam=inputs["lam"])
    raw_BL = rows.carried(credit.advantage_K)
    # Unsampled tokens show the state of the recursion plus their own value, which nothing reads.
    returns_BL = raw_BL + torch.tensor(inputs["values"], dtype=torch.float64)
    if credit.return_K is not None:
        returns_BL[rows.mask_BL] = credit.return_K
    return {"advantages_whitened": rows.whitened(raw_BL), "returns": returns_BL, "advantages_raw": raw_BL}


def _remax(rows: PaddedRows, baselines: list[float]) -> dict[str, Any]:
    free = replace(rows.batch, baseline_N=torch.zeros(len(baselines), dtype=torch.float64))
    returns_BL = rows.carried(remax(free))
    batch = replace(rows.batch, baseline_N=torch.tensor(baselines, dtype=torch.float64))
    advantages_BL = returns_BL.clone()
    advantages_BL[rows.mask_BL] = remax(batch)
    return {"reward_baselines": baselines, "advantages": advantages_BL, "returns": returns_BL}


def _optimal_token_baseline(rows: PaddedRows, recorded: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: recorded[name] for name in ("old_log_probs", "sum_pi_squared")}
    columns_BL = torch.arange(rows.mask_BL.shape[1]).expand(rows.mask_BL.shape)
    batch = replace(
        rows.batch,
        logprob_K=rows.flat(given["old_log_probs"]),
        squared_K=rows.flat(given["sum_pi_squared"]),
        position_K=columns_BL[rows.mask_BL],
    )
    advantages_BL = rows.padded(COMPOSITIONS["optimal_token_baseline"](batch))
    return {**given, "advantages": advantages_BL, "returns": rows.carried(reinforce_pp(batch, gamma=1.0))}


FAMILY = Family("verl_advantages", recompute)
