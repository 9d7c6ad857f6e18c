"""Forward pass of any transformers causal model with ordinary attention, through a cache of the cache API.

The model's own code runs; only its cache is ours: layers that write to the slots of the pool and hand out views of it.
Slower than a runner of a family's own, since each prefill segment is a forward of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from agentrl.errors import PolicyError
from agentrl.policy.embedded._batch import ALIGNMENT, Run, Segment, StepBatch
from agentrl.policy.embedded._kv import KVPool
from agentrl.trajectory._types import Int32


@dataclass(slots=True)
class _Window:
    """The part of the pool that the forward pass under way sees.

    Attributes:
        first_slot, slots, length: The view that attention reads.
        rows, write_slots, write_positions: Which of the batch's entries are kept, and where: [kept], each.
    """

    first_slot: int
    slots: int
    length: int
    rows: torch.Tensor
    write_slots: torch.Tensor
    write_positions: torch.Tensor


class _SlotLayer:
    """One layer of the pool, with what the cache API asks of a layer."""

    is_compileable = False
    is_croppable = False
    is_sliding = False
    is_initialized = True

    def __init__(self, owner: CacheRunner, keys_SHTD: torch.Tensor, values_SHTD: torch.Tensor) -> None:
        self._owner = owner
        self.keys, self.values = keys_SHTD, values_SHTD

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write [batch, heads, queries, head size] where it belongs and return the view to attend over."""
        window = self._owner.window
        view = slice(window.first_slot, window.first_slot + window.slots)
        for store, states in ((self.keys, key_states), (self.values, value_states)):
            # Either one query of several slots or several queries of one slot: flat entries of [heads, head size].
            entries = states.transpose(1, 2).flatten(0, 1)
            store[window.write_slots, :, window.write_positions] = entries[window.rows]
        return self.keys[view, :, : window.length], self.values[view, :, : window.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return key length and offset."""
        return self._owner.window.length, 0

    def get_seq_length(self) -> int:
        """Return the positions before the queries; meaningful for a segment, unused with explicit positions."""
        return self._owner.window.length - 1

    def get_max_length(self) -> int:
        """Return the positions of a slot."""
        return int(self.keys.shape[2])


class CacheRunner:
    """Runs any causal model whose layers all attend to the whole past and keep plain keys and values.

    Args:
        model: A transformers causal model; it belongs to the runner from now on.
        slots: Rows of the cache.
        max_context: Positions of a row.
    """

    window: _Window

    def __init__(self, model: Any, slots: int, max_context: int) -> None:
        self._model = model
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        probe = DynamicCache(config=model.config)
        tokens = torch.zeros(1, 1, dtype=torch.int64, device=self.device)
        output = model(input_ids=tokens, past_key_values=probe, use_cache=True)
        self.vocabulary = int(output.logits.shape[-1])
        kind = str(model.config.model_type)
        shapes = {_shape(layer, max_context, kind) for layer in probe.layers}
        if len(shapes) != 1:
            raise PolicyError(
                f"models of type {kind} keep keys and values of unequal shapes {sorted(shapes)}; use vllm or sglang"
            )
        heads, head_dim = shapes.pop()
        self.pool = KVPool(
            layers=len(probe.layers),
            slots=slots,
            heads=heads,
            positions=-(-max_context // ALIGNMENT) * ALIGNMENT,
            head_dim=head_dim,
            device=self.device,
            dtype=self.dtype,
        )
        layers = [
            _SlotLayer(self, self.pool.keys_LSHTD[index], self.pool.values_LSHTD[index])
            for index in range(len(probe.layers))
        ]
        self._cache = Cache(layers=cast(Any, layers))

    def refresh(self) -> None:
        """Nothing is derived from weights."""

    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Compute the batch, write its keys and values to the pool, return float32 logits of its output rows."""
        logits = [self._run(batch, run) for run in batch.runs]
        logits += [self._segment(batch, segment) for segment in batch.segments]
        logits_NV = torch.cat(logits).float()
        return logits_NV if batch.output_rows is None else logits_NV[batch.output_rows]

    def score(self, sequences: Sequence[Int32], starts: Sequence[int]) -> list[torch.Tensor]:
        """Return float32 log-probs of tokens[start:] of each sequence; the pool is left alone."""
        results = []
        for tokens, start in zip(sequences, starts, strict=True):
            ids = torch.from_numpy(tokens).to(self.device, torch.int64)
            logits = self._model(input_ids=ids[None], use_cache=False).logits[0, start - 1 : -1].float()
            results.append(torch.log_softmax(logits, -1).gather(1, ids[start:, None])[:, 0])
        return results

    def _run(self, batch: StepBatch, run: Run) -> torch.Tensor:
        rows = slice(run.first_row, run.first_row + run.rows)
        tokens, positions, slots = batch.tokens_N[rows], batch.positions_N[rows], batch.slots_N[rows]
        kept = torch.arange(run.rows, device=self.device)
        self.window = _Window(run.first_slot, run.slots, run.length, kept, slots, positions)
        if run.row_of_slot is not None and run.slot_of_row is not None:
            self.window.rows = run.slot_of_row
            tokens, positions = tokens[run.row_of_slot], positions[run.row_of_slot]
        mask = run.mask_R11T
        if mask is None:
            mask = torch.zeros(run.slots, 1, 1, run.length, device=self.device, dtype=self.dtype)
        logits = self._call(tokens[:, None], positions[:, None], mask)[:, 0]
        return logits if run.slot_of_row is None else logits[run.slot_of_row]

    def _segment(self, batch: StepBatch, segment: Segment) -> torch.Tensor:
        rows = slice(segment.first_row, segment.first_row + segment.rows)
        length = segment.past + segment.rows
        kept = torch.arange(segment.rows, device=self.device)
        positions = batch.positions_N[rows]
        self.window = _Window(segment.slot, 1, length, kept, batch.slots_N[rows], positions)
        mask = segment.mask_QT
        if mask is None:
            mask = torch.full((length, length), -torch.inf, device=self.device, dtype=self.dtype).triu_(1)
        return self._call(batch.tokens_N[rows][None], positions[None], mask[None, None])[0]

    def _call(self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        output = self._model(
            input_ids=tokens, position_ids=positions, attention_mask=mask, past_key_values=self._cache, use_cache=True
        )
        logits: torch.Tensor = output.logits
        return logits


def _shape(layer: Any, max_context: int, kind: str) -> tuple[int, int]:
    """Return (heads, head size) of a probed cache layer; raise PolicyError where it is not a plain one."""
    windowed = isinstance(layer, DynamicSlidingWindowLayer) and layer.sliding_window < max_context
    if not isinstance(layer, DynamicLayer) or windowed:
        raise PolicyError(
            f"models of type {kind} keep a {type(layer).__name__}, not the keys and values of the whole context of "
            f"{max_context} tokens, which the embedded engine needs; lower max_context, or use vllm or sglang"
        )
    if layer.keys is None or layer.values is None or layer.keys.shape != layer.values.shape:
        raise PolicyError(f"models of type {kind} have keys and values of unequal shapes; use vllm or sglang")
    return int(layer.keys.shape[1]), int(layer.keys.shape[3])
