"""Packing rows into micro-batches by a token budget.

Axis legend: B = rows of a micro-batch, L = padded length, K = sampled tokens of the whole batch (rows one after
another), M = sampled tokens of the micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from agentrl_trainers.learner._rows import Row


@dataclass(frozen=True)
class MicroBatch:
    """Rows padded on the right, with the places of their sampled tokens.

    Causal attention never looks to the right, so padding needs no mask: it cannot reach a token that counts.

    Attributes:
        tokens_BL: Token ids, 0 where padded. A row ends before its last sampled token, which predicts nothing.
        source_M: Index into the flattened (B·L) hidden states of the position that predicts each sampled token.
        target_M: The sampled token ids.
        flat_M: Index of each sampled token among the K of the whole batch.
        row_M: Row within the micro-batch of each sampled token.
        real_tokens: Tokens that are no padding.
    """

    tokens_BL: torch.Tensor
    source_M: torch.Tensor
    target_M: torch.Tensor
    flat_M: torch.Tensor
    row_M: torch.Tensor
    real_tokens: int

    def to(self, device: torch.device) -> MicroBatch:
        """Return the micro-batch on a device."""
        if device.type == "cpu":
            return self
        return MicroBatch(
            self.tokens_BL.to(device),
            self.source_M.to(device),
            self.target_M.to(device),
            self.flat_M.to(device),
            self.row_M.to(device),
            self.real_tokens,
        )


def pack(rows: Sequence[Row], token_budget: int, keep_K: npt.NDArray[np.bool_] | None = None) -> list[MicroBatch]:
    """Return micro-batches with B·L ≤ token_budget; a row that alone is longer gets one of its own.

    Rows are sorted by length, longest first, so that little is padded and a memory problem shows at once.

    Args:
        rows: What to train on.
        token_budget: Tokens of a micro-batch, padding included.
        keep_K: Which sampled tokens of all rows, one row after another, are wanted. The others get no logits; rows
            without any are left out, and a row ends at its last wanted token.
    """
    starts = np.cumsum([0, *(len(row.position_K) for row in rows)])
    wanted: list[tuple[Row, npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for row, start in zip(rows, starts, strict=False):
        flat = np.arange(start, start + len(row.position_K))
        chosen = flat if keep_K is None else flat[keep_K[flat]]
        if len(chosen):
            wanted.append((row, row.position_K[chosen - start], chosen))
    wanted.sort(key=lambda entry: -int(entry[1][-1]))
    micros = []
    while wanted:
        longest = int(wanted[0][1][-1])
        count = max(1, token_budget // longest)
        micros.append(_micro_batch(wanted[:count], longest))
        wanted = wanted[count:]
    return micros


def _micro_batch(
    entries: Sequence[tuple[Row, npt.NDArray[np.int64], npt.NDArray[np.int64]]], length: int
) -> MicroBatch:
    tokens_BL = np.zeros((len(entries), length), np.int64)
    for index, (row, positions, _) in enumerate(entries):
        used = int(positions[-1])
        tokens_BL[index, :used] = row.tokens_L[:used]
    row_M = np.repeat(np.arange(len(entries)), [len(positions) for _, positions, _ in entries])
    position_M = np.concatenate([positions for _, positions, _ in entries])
    target_M = np.concatenate([row.tokens_L[positions] for row, positions, _ in entries]).astype(np.int64)
    return MicroBatch(
        tokens_BL=torch.from_numpy(tokens_BL),
        source_M=torch.from_numpy(row_M * length + position_M - 1),
        target_M=torch.from_numpy(target_M),
        flat_M=torch.from_numpy(np.concatenate([flat for _, _, flat in entries])),
        row_M=torch.from_numpy(row_M),
        real_tokens=sum(int(positions[-1]) for _, positions, _ in entries),
    )
