"""What one forward pass computes: decoding rows and prefill segments, packed without padding.

The packed rows begin with one row per decoding request, ordered by slot, and go on with the segments, each a run of
prompt tokens of one slot. Linear layers see one matrix of all rows; only attention tells the parts apart. Axis legend:
N = packed rows, R = slots of a run, Q = queries of a segment, T = key positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

Int64 = npt.NDArray[np.int64]


ALIGNMENT = 16
"""Positions that a slot's size and the views of decoding rows are multiples of."""


@dataclass(frozen=True, slots=True)
class Run:
    """Decoding rows whose slots lie side by side: attention reads their keys as one view of the pool.

    Attributes:
        first_row, rows: The packed rows.
        first_slot, slots: The slots of the view; more than rows where idle slots lie between.
        length: Key positions of the view.
        mask_R11T: 0 or -inf, or None where every row has `length` keys.
        slot_of_row: Offset of each row's slot in the view, or None where there are no idle slots.
        row_of_slot: Row for each slot of the view, any for idle ones; None together with `slot_of_row`.
    """

    first_row: int
    rows: int
    first_slot: int
    slots: int
    length: int
    mask_R11T: torch.Tensor | None
    slot_of_row: torch.Tensor | None
    row_of_slot: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Segment:
    """Prompt tokens of one slot.

    Attributes:
        first_row, rows: The packed rows.
        slot: Slot of the conversation.
        past: Positions computed before.
        mask_QT: 0 or -inf where `past` > 0; None means plain causal attention among the rows themselves.
    """

    first_row: int
    rows: int
    slot: int
    past: int
    mask_QT: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class StepBatch:
    """One forward pass.

    Attributes:
        tokens_N, positions_N, slots_N: What to compute and where it belongs.
        runs: Attention of the decoding rows.
        segments: Attention of the prefill rows.
        decoding: Number of decoding rows, which come first.
        output_rows: Packed rows whose logits are wanted.
    """

    tokens_N: torch.Tensor
    positions_N: torch.Tensor
    slots_N: torch.Tensor
    runs: tuple[Run, ...]
    segments: tuple[Segment, ...]
    decoding: int
    output_rows: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a prompt to prefill: `tokens` at positions `past`… of `slot`; `ends` where the prompt ends with it."""

    slot: int
    past: int
    tokens: npt.NDArray[np.int32]
    ends: bool


class BatchPlanner:
    """Builds step batches.

    Views of the cache end at multiples of ALIGNMENT: CPU kernels then give a row the same bits whatever it is batched
    with, so that a run can be repeated exactly.

    Args:
        positions: Positions of a slot, a multiple of ALIGNMENT.
        device: Where the model is.
        dtype: Type of the model's activations, hence of masks.
        split_cost: Key positions that cost as much time as one more attention call per layer.
    """

    def __init__(self, positions: int, device: torch.device, dtype: torch.dtype, split_cost: int) -> None:
        self._positions_T = torch.arange(positions + 1, device=device)
        self._device = device
        self._zero = torch.zeros((), device=device, dtype=dtype)
        self._hidden = torch.full((), -torch.inf, device=device, dtype=dtype)
        self._split_cost = split_cost

    def plan(self, slots: Int64, tokens: Int64, lengths: Int64, chunks: list[Chunk]) -> StepBatch:
        """Plan a step.

        Args:
            slots: Slots that decode, ascending.
            tokens: The token each of them feeds.
            lengths: Positions computed before, which is the position of that token.
            chunks: Prompt parts to prefill.
        """
        decoding = len(slots)
        runs = self._runs(slots, lengths + 1)
        output: torch.Tensor | None = None
        segments: list[Segment] = []
        if chunks:
            rows = decoding
            ends = list(range(decoding))
            for chunk in chunks:
                segments.append(self._segment(chunk, rows))
                rows += len(chunk.tokens)
                if chunk.ends:
                    ends.append(rows - 1)
            output = torch.tensor(ends, dtype=torch.int64, device=self._device)
            counts = [len(chunk.tokens) for chunk in chunks]
            tokens = np.concatenate([tokens, *(chunk.tokens for chunk in chunks)], dtype=np.int64)
            chunk_positions = (np.arange(chunk.past, chunk.past + len(chunk.tokens)) for chunk in chunks)
            lengths = np.concatenate([lengths, *chunk_positions])
            slots = np.concatenate([slots, np.repeat([chunk.slot for chunk in chunks], counts)])
        tokens_N, positions_N, slots_N = torch.from_numpy(np.stack([tokens, lengths, slots])).to(self._device)
        return StepBatch(tokens_N, positions_N, slots_N, runs, tuple(segments), decoding, output)

    def _segment(self, chunk: Chunk, first_row: int) -> Segment:
        rows = len(chunk.tokens)
        mask_QT = None
        if chunk.past:
            last_T = self._positions_T[: chunk.past + rows]
            visible_QT = last_T[None] <= last_T[chunk.past :, None]
            mask_QT = torch.where(visible_QT, self._zero, self._hidden)
        return Segment(first_row, rows, chunk.slot, chunk.past, mask_QT)

    def _runs(self, slots: Int64, lengths: Int64) -> tuple[Run, ...]:
        """Cut the decoding rows where joining costs more than another call: idle slots between, uneven lengths."""
        if not len(slots):
            return ()
        slot_list, length_list = slots.tolist(), lengths.tolist()
        cuts = [0]
        first, longest = slot_list[0], length_list[0]
        for row in range(1, len(slot_list)):
            slot, length = slot_list[row], length_list[row]
            apart = (slot_list[row - 1] - first + 1) * longest + length + self._split_cost
            if (slot - first + 1) * max(longest, length) > apart:
                cuts.append(row)
                first, longest = slot, length
            elif length > longest:
                longest = length
        cuts.append(len(slot_list))
        return tuple(self._run(begin, slots[begin:end], lengths[begin:end]) for begin, end in pairwise(cuts))

    def _run(self, first_row: int, slots: Int64, lengths: Int64) -> Run:
        rows, first = len(slots), int(slots[0])
        length = -(-int(lengths.max()) // ALIGNMENT) * ALIGNMENT
        span = int(slots[-1]) - first + 1
        slot_of_row = row_of_slot = None
        visible = lengths
        if span > rows:
            offsets = slots - first
            back = np.zeros(span, np.int64)
            back[offsets] = np.arange(rows)
            visible = np.full(span, length)
            visible[offsets] = lengths
            slot_of_row = torch.from_numpy(offsets).to(self._device)
            row_of_slot = torch.from_numpy(back).to(self._device)
        mask_R11T = None
        if int(visible.min()) < length:
            limit_R = torch.from_numpy(visible).to(self._device)
            visible_RT = self._positions_T[:length] < limit_R[:, None]
            mask_R11T = torch.where(visible_RT, self._zero, self._hidden)[:, None, None]
        return Run(first_row, rows, first, span, length, mask_R11T, slot_of_row, row_of_slot)
