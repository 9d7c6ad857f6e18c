"""Golden figures of IGPO's advantages from turn rewards, in its release of 2025 and its code of 2026."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from agentrl_trainers.credit import COMPOSITIONS, CreditBatch
from agentrl_trainers.credit.estimators._igpo_2025 import token_returns
from agentrl_trainers.credit.turn_rewards import information_gain
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._turn_rows import options


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    batch, place_K, shape = _batch(inputs)

    def padded(values_K: torch.Tensor) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float64).view(-1).index_copy_(0, place_K, values_K).view(shape)

    found: dict[str, Any] = {}
    for key in wanted:
        asked = options(key.split("(")[0])
        if key.startswith("igpo_2026|"):
            advantage_K = COMPOSITIONS["igpo"](
                batch,
                normalisation=asked["mode"],
                scale_by_std=asked["std"] == "True",
                gamma=float(asked["gamma"]),
                outcome_weight=float(asked.get("f1w", 1)),
                information_weight=float(asked.get("igw", 1)),
            )
            found[key] = padded(advantage_K)
        elif key.startswith("igpo_2025_"):
            gamma = float(asked["gamma"])
            baseline = "position" if key.startswith("igpo_2025_release") else "start"
            advantage_K = COMPOSITIONS["igpo_2025"](batch, gamma=gamma, baseline=baseline)
            return_K = token_returns(information_gain(batch), gamma)
            found[key] = {"advantages": padded(advantage_K), "returns": padded(return_K)}
    return found


def _batch(inputs: Mapping[str, Any]) -> tuple[CreditBatch, torch.Tensor, torch.Size]:
    """Return the batch, the place of each sampled token in the padded rows, and their shape."""
    reward_BL = torch.tensor(inputs["token_level_rewards"], dtype=torch.float64)
    mask_BL = torch.tensor(inputs["response_mask"], dtype=torch.bool)
    names = list(dict.fromkeys(inputs["index"]))
    ends: Sequence[Sequence[int]] = inputs["turn_end_positions"]
    trajectory_T = torch.tensor([row for row, positions in enumerate(ends) for _ in positions])
    turn_T = torch.tensor([turn for positions in ends for turn in range(len(positions))])
    end_T = torch.tensor([end for positions in ends for end in positions])
    start_T = torch.tensor([start for positions in ends for start in [0, *(end + 1 for end in positions[:-1])]])
    inside_TL = mask_BL[trajectory_T]
    column_L = torch.arange(mask_BL.shape[1])
    inside_TL = inside_TL & (column_L >= start_T[:, None]) & (column_L <= end_T[:, None])
    turn_K, column_K = inside_TL.nonzero(as_tuple=True)
    reward_T = reward_BL[trajectory_T, end_T]
    last_T = turn_T == torch.tensor([len(positions) for positions in ends])[trajectory_T] - 1
    batch = CreditBatch(
        group_N=torch.tensor([names.index(name) for name in inputs["index"]]),
        reward_N=torch.zeros(len(ends), dtype=torch.float64).index_add_(0, trajectory_T, reward_T * last_T),
        trajectory_T=trajectory_T,
        turn_T=turn_T,
        reward_T=reward_T,
        anchor_T=torch.full_like(turn_T, -1),
        valid_T=torch.ones_like(last_T),
        turn_K=turn_K,
        finished_N=torch.ones(len(ends), dtype=torch.bool),
        # The reference takes a gain of exactly 0 for none at all.
        information_T=reward_T.masked_fill(reward_T == 0, torch.nan),
    )
    return batch, trajectory_T[turn_K] * mask_BL.shape[1] + column_K, mask_BL.shape


def bug_of_inputs(inputs: Mapping[str, Any], key: str) -> str | None:
    """Return why the reference loses a turn: it finds turns by rewards that are not 0 *after* normalisation."""
    asked = options(key.split("(")[0])
    if not key.startswith("igpo_2026|") or float(asked["gamma"]) == 1:
        return None
    batch, _, _ = _batch(inputs)
    last_T = torch.cat([batch.turn_T[1:] == 0, torch.ones(1, dtype=torch.bool)])
    group_T = batch.group_N[batch.trajectory_T]
    counted_T = batch.reward_T != 0
    counted_T = counted_T & ~last_T if asked["mode"] == "separate" else counted_T | last_T
    for group in set(group_T.tolist()):
        rewards = batch.reward_T[counted_T & (group_T == group)]
        gains = batch.reward_T[~last_T & (batch.reward_T != 0) & (group_T == group)]
        if bool((gains == rewards.mean()).any()):
            return (
                "a gain equals the mean of its group, and the reference takes its normalised reward of 0 for no turn "
                "(algorithms.md, section 5, pitfall 3); here turn ends are data"
            )
    return None


FAMILY = Family("igpo", recompute, bug_of_inputs=bug_of_inputs)
