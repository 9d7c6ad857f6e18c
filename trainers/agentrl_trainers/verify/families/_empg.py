"""Golden figures of EMPG's modulation of given advantages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from agentrl_trainers.credit.modulators import empg
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._turn_rows import options, turn_rows


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    rows = turn_rows(inputs)
    batch = dataclasses.replace(rows.batch, entropy_K=rows.flat(inputs["old_entropy"]))
    advantage_K = rows.flat(inputs["advantages"])
    found: dict[str, Any] = {}
    for key in wanted:
        if key.startswith("empg|"):
            asked = {name: float(value) for name, value in options(key).items()}
            modulated_K = empg(batch, advantage_K, k=asked["k"], k_future=asked["kf"], zeta=asked["zeta"])
            found[key] = rows.padded(modulated_K)
    return found


FAMILY = Family("empg", recompute)
