"""Golden figures of information gain from log-probs of the true answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from agentrl_trainers.credit import CreditBatch
from agentrl_trainers.credit.information import mean_logprob
from agentrl_trainers.credit.turn_rewards import GainKind, information_gains
from agentrl_trainers.verify._family import Family


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case: one trajectory, scored before each of its turns."""
    scores = [np.array(row, dtype=np.float64) for row in inputs["gt_token_logprobs_per_turn"]]
    belief_T = torch.tensor([mean_logprob(row) for row in scores], dtype=torch.float64)
    zeros_T = torch.zeros(len(scores), dtype=torch.int64)
    batch = CreditBatch(
        group_N=zeros_T[:1],
        reward_N=torch.zeros(1, dtype=torch.float64),
        trajectory_T=zeros_T,
        turn_T=torch.arange(len(scores)),
        reward_T=torch.zeros(len(scores), dtype=torch.float64),
        anchor_T=zeros_T - 1,
        valid_T=zeros_T == 0,
        turn_K=torch.arange(len(scores)),
        finished_N=zeros_T[:1] == 0,
    )
    kinds: tuple[GainKind, ...] = ("prob_diff", "log_prob_diff")
    found: dict[str, Any] = {kind: information_gains(batch, belief_T, gain=kind)[:-1] for kind in kinds}
    return {key: value for key, value in (found | {"mean_logprob": belief_T}).items() if key in wanted}


FAMILY = Family("igpo_info_gain", recompute)
