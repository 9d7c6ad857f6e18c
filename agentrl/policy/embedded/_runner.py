"""Choice of the forward pass for a model, and a check that it computes what the model computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from agentrl.errors import PolicyError
from agentrl.policy.embedded._batch import BatchPlanner, Chunk, StepBatch
from agentrl.policy.embedded._kv import KVPool
from agentrl.policy.embedded._runner_cache import CacheRunner
from agentrl.policy.embedded._runner_llama import LlamaRunner, serves
from agentrl.trajectory._types import Int32


class Runner(Protocol):
    """A model's forward pass over the slotted cache.

    Attributes:
        pool: The cache.
        vocabulary: Number of logits.
        device, dtype: Of the model's activations.
    """

    pool: KVPool
    vocabulary: int
    device: torch.device
    dtype: torch.dtype

    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Compute the batch, write its keys and values to the pool, return float32 logits of its output rows."""
        ...

    def score(self, sequences: Sequence[Int32], starts: Sequence[int]) -> list[torch.Tensor]:
        """Return float32 log-probs of tokens[start:] of each sequence; the pool is left alone."""
        ...

    def refresh(self) -> None:
        """Recompute what is derived from weights."""
        ...


def make_runner(model: Any, slots: int, max_context: int) -> Runner:
    """Return the fastest runner that serves `model`, after comparing it with the model itself on a few tokens.

    Raises:
        PolicyError: The model is longer, stateful or windowed in a way that no runner serves.
    """
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and max_context > limit:
        raise PolicyError(f"max_context is {max_context}, but the model has {limit} positions; lower max_context")
    model.eval().requires_grad_(False)
    tokens = np.arange(min(9, max_context), dtype=np.int32) % model.get_input_embeddings().num_embeddings
    with torch.inference_mode():
        expected = model(input_ids=torch.from_numpy(tokens)[None].to(model.device, torch.int64)).logits[0].float()
        runner: Runner = (LlamaRunner if serves(model) else CacheRunner)(model, slots, max_context)
        _compare(runner, tokens, expected, str(model.config.model_type))
    return runner


def _compare(runner: Runner, tokens: Int32, expected: torch.Tensor, model_type: str) -> None:
    """Prefill in two parts, then decode: each must give the logits of a plain forward."""
    planner = BatchPlanner(runner.pool.positions, runner.device, runner.dtype, 0)
    nothing = np.zeros(0, np.int64)
    tolerance = 2e-3 if runner.dtype == torch.float32 else 0.1
    scale = 1.0 + float(expected.abs().max())
    slot, cut = runner.pool.slots - 1, len(tokens) // 2
    last = len(tokens) - 1
    batches = []
    if cut and last > cut:
        batches = [
            (cut - 1, planner.plan(nothing, nothing, nothing, [Chunk(slot, 0, tokens[:cut], True)])),
            (last - 1, planner.plan(nothing, nothing, nothing, [Chunk(slot, cut, tokens[cut:last], True)])),
            (last, planner.plan(np.array([slot]), tokens[last:].astype(np.int64), np.array([last]), [])),
        ]
    for row, batch in batches:
        difference = float((runner.forward(batch)[0] - expected[row]).abs().max())
        if not difference <= tolerance * scale:
            raise PolicyError(
                f"models of type {model_type} cannot be served by the embedded engine: its logits differ from the "
                f"model's own by {difference:.2g} at position {row} (expected below {tolerance * scale:.2g}). "
                "Check that the weights are finite; else use the sglang or vllm engine"
            )
