"""Golden figures of bi-level GAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from agentrl_trainers.credit.estimators import bilevel_gae
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded_rows import padded_rows


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    ends_BL = torch.zeros(torch.tensor(inputs["loss_mask"]).shape, dtype=torch.bool)
    for row, ends in enumerate(inputs["turn_end_positions"]):
        ends_BL[row, ends] = True
    # Each row is a group of its own: rows are not compared.
    rewards_BL = inputs["token_level_rewards"]
    rows = padded_rows(inputs["loss_mask"], rewards_BL, list(range(len(rewards_BL))), ends_BL)
    batch = replace(rows.batch, value_K=rows.flat(inputs["values"]))
    credit = bilevel_gae(batch, gamma=inputs["gamma"], lam=inputs["lam"], high_gamma=inputs["high_level_gamma"])
    assert credit.return_K is not None
    raw_BL = rows.padded(credit.advantage_K)
    return {
        "advantages_raw": raw_BL,
        "advantages_whitened": rows.whitened(raw_BL),
        "returns": rows.padded(credit.return_K),
    }


FAMILY = Family("bilevel_gae", recompute)
