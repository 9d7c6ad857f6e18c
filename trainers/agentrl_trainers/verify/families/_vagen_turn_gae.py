"""Golden figures of VAGEN's turn-level GAE: rows are turns, in any order, some of them twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch

from agentrl_trainers.credit.estimators import turn_gae
from agentrl_trainers.credit.modulators._whiten import whitening
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._turn_rows import TurnRows, turn_rows


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    names = list(zip(inputs["group_idx"], inputs["traj_idx"], inputs["turn_idx"], strict=True))
    # Batches are padded by rows that repeat a turn: credit is computed once.
    unique = list(dict.fromkeys(names))
    first = [names.index(name) for name in unique]
    copy_B = torch.tensor([unique.index(name) for name in names])
    once = {
        "rows": [{"group": group, "traj": trajectory, "turn": turn} for group, trajectory, turn in unique],
        "response_mask": [inputs["response_mask"][index] for index in first],
    }
    rows = turn_rows(once)
    scores_BL = [inputs["token_level_scores"][index] for index in first]
    values_BL = [inputs["values"][index] for index in first]
    batch = replace(rows.batch, reward_K=rows.flat(scores_BL), value_K=rows.flat(values_BL))
    rows = replace(rows, batch=batch)
    found: dict[str, Any] = {}
    if "value_at_first_token" in wanted:
        found["value_at_first_token"] = _outputs(rows, inputs, "first", copy_B)
    if "value_at_last_token" in wanted:
        found["value_at_last_token"] = _outputs(rows, inputs, "last", copy_B)
    return found


def _outputs(
    rows: TurnRows, inputs: Mapping[str, Any], anchor: Literal["first", "last"], copy_B: torch.Tensor
) -> dict[str, torch.Tensor]:
    credit = turn_gae(rows.batch, gamma=inputs["gamma"], lam=inputs["lam"], anchor_token=anchor)
    assert credit.return_K is not None and credit.target_K is not None
    mask_BL = rows.mask_BL[copy_B]
    raw_BL = rows.padded(credit.advantage_K)[copy_B]
    mean, scale = whitening(raw_BL[mask_BL])
    ignored_BL = torch.full(rows.mask_BL.shape, float(inputs["ignore_value"]), dtype=torch.float64)
    targets_BL = rows.padded(credit.target_K)
    returns_BL = torch.where(targets_BL, rows.padded(credit.return_K), ignored_BL)[copy_B]
    return {"advantages_whitened": (raw_BL - mean) * scale, "returns": returns_BL}


FAMILY = Family("vagen_turn_gae", recompute)
