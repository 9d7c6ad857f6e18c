"""Golden figures of HiPER's hierarchical advantages: rows are turns in any order, with values per turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from agentrl_trainers.credit import Plan
from agentrl_trainers.credit.estimators import hiper_hae
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._turn_rows import turn_rows

ROLES = {"switch": Plan.SWITCH, "subgoal": Plan.SUBGOAL, "action": Plan.ACTION}
HEADS = ("low", "high", "term")


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    columns = {name: inputs[f"{name}_tokens"] for name in ROLES}
    length = 1 + max(column for places in columns.values() for column in places)
    role_L = torch.full((length,), Plan.OTHER)
    for name, places in columns.items():
        role_L[places] = ROLES[name]
    described = [
        {**row, "reward": reward, "group": 0} for row, reward in zip(inputs["rows"], inputs["rewards"], strict=True)
    ]
    rows = turn_rows({"rows": described, "response_mask": [[1] * length for _ in described]})
    turns = len(described)
    done_T = torch.tensor([row["done"] for row in described])[rows.order_T]
    switch_T = torch.tensor([row["switch"] for row in described])[rows.order_T]
    finished_N = torch.zeros_like(rows.batch.finished_N)
    finished_N[rows.batch.trajectory_T[done_T]] = True
    heads = [torch.tensor(inputs[f"v_{head}"], dtype=torch.float64)[rows.order_T] for head in HEADS]
    batch = replace(
        rows.batch,
        finished_N=finished_N,
        value_K=torch.stack(heads, dim=-1)[rows.batch.turn_K],
        plan=Plan(switch_T, torch.full((turns,), -1), role_L.repeat(turns)),
    )
    credit = hiper_hae(
        batch,
        gamma=inputs["gamma"],
        lam_turn=inputs["lam_turn"],
        lam_seg=inputs["lam_seg"],
        norm_adv=inputs["norm_adv"],
        bootstrap_truncated=inputs["bootstrap_truncated"],
        keep_penalty=inputs["keep_penalty"],
        keep_penalty_mode=inputs["keep_penalty_mode"],
        keep_consistency_penalty=0.0,
    )
    assert credit.return_K is not None
    all_BL = rows.padded(credit.advantage_K)
    found = {"advantages": all_BL}
    for head, role, column in zip(HEADS, ("action", "subgoal", "switch"), range(3), strict=True):
        found[f"advantages_{head}"] = torch.where(role_L == ROLES[role], all_BL, torch.zeros_like(all_BL))
        found[f"returns_{head}"] = rows.padded(credit.return_K[:, column])
    return found


FAMILY = Family("hiper_hae", recompute)
