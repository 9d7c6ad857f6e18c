"""Padded rows of a reference, one row per trajectory, as the ragged batch that credit works on.

Axis legend: B = rows, L = padded tokens, K = sampled tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from agentrl_trainers.credit import CreditBatch
from agentrl_trainers.credit.modulators._whiten import whitening


@dataclass(frozen=True)
class PaddedRows:
    """A batch made of rows, and the way back.

    Attributes:
        batch: One trajectory per row.
        mask_BL: Sampled tokens of the rows.
    """

    batch: CreditBatch
    mask_BL: torch.Tensor

    def flat(self, values_BL: Any) -> torch.Tensor:
        """Return padded values as those of sampled tokens [K]."""
        return torch.tensor(values_BL, dtype=torch.float64)[self.mask_BL]

    def padded(self, values_K: torch.Tensor) -> torch.Tensor:
        """Return values of sampled tokens as padded rows [B, L], 0 where nothing was sampled."""
        padded_BL = torch.zeros(self.mask_BL.shape, dtype=values_K.dtype)
        padded_BL[self.mask_BL] = values_K
        return padded_BL

    def carried(self, values_K: torch.Tensor) -> torch.Tensor:
        """Return padded rows in which an unsampled token has the value of the next sampled one, 0 after the last.

        So a recursion shows that runs backwards and leaves its state as it is on unsampled tokens.
        """
        places_L = torch.arange(self.mask_BL.shape[1])
        beyond = self.mask_BL.shape[1]
        next_BL = torch.where(self.mask_BL, places_L, beyond).flip(-1).cummin(-1).values.flip(-1)
        longer_BL = torch.cat([self.padded(values_K), torch.zeros(len(self.mask_BL), 1, dtype=values_K.dtype)], dim=-1)
        return longer_BL.gather(1, next_BL)

    def whitened(self, raw_BL: torch.Tensor) -> torch.Tensor:
        """Return rows whitened by the statistics of their sampled tokens, unsampled ones included as they are."""
        mean, scale = whitening(raw_BL[self.mask_BL])
        return (raw_BL - mean) * scale


def padded_rows(
    mask_BL: Any, reward_BL: Any, groups: Sequence[object], ends_BL: torch.Tensor | None = None
) -> PaddedRows:
    """Return rows as a batch.

    Args:
        mask_BL: Sampled tokens.
        reward_BL: Rewards of tokens; what lies on unsampled ones is in the trajectory's reward only.
        groups: Name of the group of each row.
        ends_BL: Where turns end; None = each row is one turn.
    """
    sampled_BL = torch.tensor(mask_BL, dtype=torch.bool)
    rewards_BL = torch.tensor(reward_BL, dtype=torch.float64)
    rows = torch.arange(len(sampled_BL))
    names = list(dict.fromkeys(groups))
    if ends_BL is None:
        ends_BL = torch.zeros_like(sampled_BL)
        ends_BL[:, -1] = True
    # Turns are counted over all rows; a token belongs to the turn that ends at or after it.
    turn_BL = (ends_BL.cumsum(-1) - ends_BL.long()) + (ends_BL.sum(-1).cumsum(0) - ends_BL.sum(-1))[:, None]
    turns_B = ends_BL.sum(-1)
    trajectory_T = torch.repeat_interleave(rows, turns_B)
    turn_T = torch.arange(int(turns_B.sum())) - (turns_B.cumsum(0) - turns_B)[trajectory_T]
    reward_T = torch.zeros(len(turn_T), dtype=torch.float64)
    known_BL = turn_BL < turns_B.cumsum(0)[:, None]
    reward_T.index_add_(0, turn_BL[known_BL], rewards_BL[known_BL])
    batch = CreditBatch(
        group_N=torch.tensor([names.index(name) for name in groups]),
        reward_N=rewards_BL.sum(-1),
        trajectory_T=trajectory_T,
        turn_T=turn_T,
        reward_T=reward_T,
        anchor_T=torch.full_like(turn_T, -1),
        valid_T=torch.ones_like(turn_T, dtype=torch.bool),
        turn_K=turn_BL[sampled_BL],
        finished_N=torch.ones_like(rows, dtype=torch.bool),
        reward_K=rewards_BL[sampled_BL],
    )
    return PaddedRows(batch, sampled_BL)
