"""Padded rows of a reference, one row per turn, as the ragged batch that credit works on.

Axis legend: B = rows of the reference, L = its padded tokens, T = turns, K = sampled tokens.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from agentrl_trainers.credit import CreditBatch


@dataclass(frozen=True)
class TurnRows:
    """A batch made of rows, and the way back.

    Attributes:
        batch: The rows by trajectory and turn.
        order_T: Row of the reference that each turn comes from.
        mask_BL: Sampled tokens of the reference's rows.
    """

    batch: CreditBatch
    order_T: torch.Tensor
    mask_BL: torch.Tensor

    def flat(self, values_BL: Any) -> torch.Tensor:
        """Return padded values as those of sampled tokens [K], in the batch's order."""
        return torch.tensor(values_BL, dtype=torch.float64)[self.order_T][self.mask_BL[self.order_T]]

    def padded(self, values_K: torch.Tensor) -> torch.Tensor:
        """Return values of sampled tokens as padded rows of the reference [B, L], 0 where nothing was sampled."""
        padded_TL = torch.zeros(self.mask_BL.shape, dtype=values_K.dtype)
        padded_TL[self.mask_BL[self.order_T]] = values_K
        return self.by_row(padded_TL)

    def by_row(self, values_T: torch.Tensor) -> torch.Tensor:
        """Return values of turns in the order of the reference's rows."""
        return torch.empty_like(values_T).index_copy_(0, self.order_T, values_T)

    def turns_to_rows(self, values_T: torch.Tensor) -> torch.Tensor:
        """Return values of turns on all of their sampled tokens, padded [B, L]."""
        return self.padded(values_T[self.batch.turn_K])


def turn_rows(inputs: Mapping[str, Any]) -> TurnRows:
    """Return the batch of `inputs["rows"]` (group, traj, turn, obs, reward; what is missing is alike for all)."""
    rows = inputs["rows"]
    mask_BL = torch.tensor(inputs["response_mask"], dtype=torch.bool)
    if "token_level_rewards" in inputs:
        scores = torch.tensor(inputs["token_level_rewards"], dtype=torch.float64).sum(-1).tolist()
    else:
        scores = [0.0] * len(rows)
    trajectories = _numbers([(row.get("group"), row["traj"]) for row in rows])
    order = sorted(range(len(rows)), key=lambda index: (trajectories[index], rows[index]["turn"]))
    order_T = torch.tensor(order)
    trajectory_T = torch.tensor(trajectories)[order_T]
    first_T = torch.cat([torch.ones(1, dtype=torch.bool), trajectory_T[1:] != trajectory_T[:-1]])
    start_T = torch.where(first_T, torch.arange(len(rows)), 0).cummax(0).values
    batch = CreditBatch(
        group_N=torch.tensor(_numbers([row.get("group") for row in rows]))[order_T][first_T],
        reward_N=torch.tensor(scores, dtype=torch.float64)[order_T][first_T],
        trajectory_T=trajectory_T,
        turn_T=torch.arange(len(rows)) - start_T,
        reward_T=torch.tensor([row.get("reward", 0.0) for row in rows], dtype=torch.float64)[order_T],
        anchor_T=torch.tensor(_numbers([str(row.get("obs")) for row in rows]))[order_T],
        valid_T=torch.ones(len(rows), dtype=torch.bool),
        turn_K=torch.repeat_interleave(torch.arange(len(rows)), mask_BL.sum(-1)[order_T]),
        finished_N=torch.ones(int(first_T.sum()), dtype=torch.bool),
    )
    return TurnRows(batch, order_T, mask_BL)


def options(key: str) -> dict[str, str]:
    """Return the options that a key names: "hgpo|mode=mean_norm|alpha=1.0" has mode and alpha."""
    return dict(part.split("=", 1) for part in key.split("|")[1:] if "=" in part)


def _numbers(names: list[Any]) -> list[int]:
    seen: dict[Hashable, int] = {}
    return [seen.setdefault(name, len(seen)) for name in names]
