"""Golden figures of EPO: the constant penalty of the authors' code, and its weight over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.objectives import corridor_penalty, smoothing_weight
from agentrl_trainers.objectives._sequences import sequence_max
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded, mean


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case; keys are `<mode>|low|high|outside` and `epoch_weight|max150`."""
    rows = Padded(torch.ones(len(inputs["entropy"]), len(inputs["entropy"][0])))
    entropy_K = rows.flat(inputs["entropy"])
    history = torch.tensor(inputs["entropy_history_per_step"], dtype=torch.float64)
    history_K = history[torch.tensor(inputs["rollout_step"])][rows.sequence_K]
    found: dict[str, Any] = {}
    for key, outputs in wanted.items():
        mode, *figures = key.split("|")
        if mode == "epoch_weight":
            steps = int(figures[0].removeprefix("max"))
            found[key] = {epoch: smoothing_weight(int(epoch), steps) for epoch in outputs}
            continue
        low, high, outside = (float(figure) for figure in figures)
        penalty_K = corridor_penalty(
            entropy_K,
            history_K,
            sequence_K=rows.sequence_K if mode == "seq" else None,
            low=low,
            high=high,
            outside=outside,
        )
        counted = penalty_K if mode == "token" else sequence_max(penalty_K, rows.sequence_K)
        found[key] = {"penalty": rows.padded(penalty_K), "within_fraction": mean(counted == 0)}
    return found


FAMILY = Family("epo_entropy_smoothing", recompute)
