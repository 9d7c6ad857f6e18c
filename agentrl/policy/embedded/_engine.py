"""The async face of the embedded engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from agentrl.errors import PolicyError
from agentrl.policy._base import EngineStats, FinishReason, Generation, SamplingParams, WeightSource, empty_generation
from agentrl.policy.embedded._conversations import block_keys
from agentrl.policy.embedded._core import EngineCore
from agentrl.policy.embedded._loop import DecodeLoop, Score
from agentrl.policy.embedded._queue import Reply, Request
from agentrl.policy.embedded._runner import make_runner
from agentrl.policy.embedded._sampling import seed_key
from agentrl.policy.embedded._weights import WeightTable, read_weights
from agentrl.trajectory._types import Float32, Int32


class EmbeddedEngine:
    """A policy engine in this process: continuous batching over a slotted KV cache with prefix reuse.

    It fulfils `agentrl.policy.PolicyEngine`. Llama, Qwen2 and Qwen3 models run on a forward pass of the engine's own,
    any other transformers model whose layers attend to the whole context through the cache API. The engine owns its
    model: pass a copy of one that is trained. All methods are safe to call from one or several event loops.

    Args:
        model: A transformers causal language model, on the device and in the type that it is to run in.
        slots: Requests that decode at the same time.
        max_context: Most tokens of a request, prompt and sampled together.
        version: Policy version of the weights.
        threads: CPU threads of the engine; None = half of the cores, at least one.
        parked_tokens: Most tokens cached beyond those in slots, for conversations that wait for their environments;
            None = three times `slots * max_context`.
        prefill_tokens: Most prompt tokens computed beside one decode step: more is faster overall, less stalls
            decoding requests for a shorter time.

    Raises:
        PolicyError: The model cannot be served; the message says why.

    Example:
        engine = EmbeddedEngine.from_folder("models/tiny", slots=16, max_context=512)
        answer = await engine.generate(prompt, SamplingParams(max_tokens=32), request_id="episode-1")
        await engine.close()
    """

    def __init__(
        self,
        model: Any,
        *,
        slots: int,
        max_context: int,
        version: int = 0,
        threads: int | None = None,
        parked_tokens: int | None = None,
        prefill_tokens: int = 512,
    ) -> None:
        if slots < 1 or max_context < 2 or prefill_tokens < 1:
            raise PolicyError(
                f"slots={slots}, max_context={max_context}, prefill_tokens={prefill_tokens}: "
                "expected at least 1 slot, 2 tokens of context and 1 token of prefill"
            )
        self._runner = make_runner(model, slots, max_context)
        self._slots = slots
        self._max_context = max_context
        self._core = EngineCore(
            self._runner,
            WeightTable(model),
            version=version,
            parked_tokens=3 * slots * max_context if parked_tokens is None else parked_tokens,
            prefill_tokens=prefill_tokens,
        )
        # Asked once here, so that this thread keeps its own number when the engine's thread sets another.
        torch.get_num_threads()
        self._loop = DecodeLoop(self._core, self._runner, threads=threads or max(1, (os.cpu_count() or 1) // 2))
        self._loop.start()

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        *,
        slots: int,
        max_context: int,
        version: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        threads: int | None = None,
        parked_tokens: int | None = None,
        prefill_tokens: int = 512,
    ) -> Self:
        """Load a model folder (config and safetensors as `save_pretrained` writes them) and serve it.

        Args:
            path: The folder; nothing is ever downloaded.
            slots, max_context, version, threads, parked_tokens, prefill_tokens: See the class.
            device: Where the model runs.
            dtype: Type of weights and activations. Log-probs are exact only in float32.

        Raises:
            PolicyError: The folder holds no readable model, or one that cannot be served.
        """
        from transformers import AutoModelForCausalLM

        folder = Path(path)
        if not (folder / "config.json").is_file():
            raise PolicyError(f"no model in {folder}: expected config.json; make one with `agentrl init-model`")
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise PolicyError(f"cannot load the model in {folder}: {error}") from error
        return cls(
            model.to(device),
            slots=slots,
            max_context=max_context,
            version=version,
            threads=threads,
            parked_tokens=parked_tokens,
            prefill_tokens=prefill_tokens,
        )

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        return self._core.version

    @property
    def max_context(self) -> int:
        """Most tokens a request can have, prompt and sampled together."""
        return self._max_context

    async def generate(
        self, prompt_tokens: Sequence[int] | Int32, sampling: SamplingParams, *, request_id: str, priority: float = 0.0
    ) -> Generation:
        """Sample a continuation; see `PolicyEngine.generate`. Cancelling the call frees its slot.

        A greedy request (temperature 0) ignores top-k and top-p; its log-probs are those of temperature 1.

        Raises:
            PolicyError: The prompt is empty, longer than the context or not of this vocabulary, a sampling parameter
                is out of range, the logits are not finite, or the engine has died or is closed.
        """
        prompt = self._checked(prompt_tokens, f"request {request_id}")
        _check_sampling(sampling, request_id)
        self._loop.check_alive()
        limit = min(sampling.max_tokens, self._max_context - len(prompt))
        if limit == 0:
            return empty_generation(FinishReason.LENGTH)
        reply = _reply()
        request = Request(
            request_id=request_id,
            prompt=prompt,
            sampling=sampling,
            priority=priority,
            limit=limit,
            stop=frozenset(sampling.stop_token_ids),
            seed_key=seed_key(sampling.seed),
            block_keys=block_keys(prompt),
            reply=reply,
        )
        self._loop.generate(request)
        try:
            generation: Generation = await reply.future
        except asyncio.CancelledError:
            self._loop.cancel(request)
            raise
        return generation

    async def score(self, tokens: Sequence[int] | Int32, start: int) -> Float32:
        """Return teacher-forced log-probs [len(tokens) - start] of tokens[start:] at temperature 1; start ≥ 1.

        Raises:
            PolicyError: The tokens are empty, too long or not of this vocabulary, or `start` is out of range.
        """
        sequence = self._checked(tokens, "score")
        if not 1 <= start <= len(sequence):
            raise PolicyError(f"score: start is {start}, expected 1 to {len(sequence)}, the number of tokens")
        self._loop.check_alive()
        if start == len(sequence):
            return np.zeros(0, np.float32)
        reply = _reply()
        self._loop.score(Score(sequence, start, reply))
        logprobs: Float32 = await reply.future
        return logprobs

    async def update_weights(self, version: int, source: WeightSource) -> None:
        """Swap the weights between two decode steps; see `PolicyEngine.update_weights`.

        Files are read while decoding goes on; tensors of a mapping are copied, and must not change until this returns.
        Requests that have sampled nothing yet are not interrupted: they start under the new version.

        Raises:
            PolicyError: The version is not newer, or the weights are not this model's; the old ones stay in place.
        """
        if version <= self.version:
            raise PolicyError(
                f"weights of version {version} do not follow version {self.version}: versions must increase"
            )
        tensors = await asyncio.to_thread(read_weights, source)
        reply = _reply()
        self._loop.update(version, tensors, reply)
        await reply.future

    async def interrupt(self, request_ids: Sequence[str] | None = None) -> None:
        """Make the named requests (or all) return INTERRUPTED at the next token boundary, waiting ones included."""
        reply = _reply()
        self._loop.interrupt(None if request_ids is None else set(request_ids), reply)
        await reply.future

    async def release(self, request_id: str) -> None:
        """Say that a trajectory is over: its KV cache may be given to others at once."""
        reply = _reply()
        self._loop.release(request_id, reply)
        await reply.future

    def stats(self) -> EngineStats:
        """Return a snapshot of counters and queues; `extra` tells of the cache and the number of steps."""
        core, counters = self._core, self._core.counters
        return EngineStats(
            version=core.version,
            slots=self._slots,
            running=len(core.live),
            waiting=len(core.waiting),
            sampled_tokens=counters.sampled_tokens,
            prefilled_tokens=counters.prefilled_tokens,
            cached_tokens=counters.cached_tokens,
            busy_seconds=counters.busy_seconds,
            idle_seconds=counters.idle_seconds,
            weight_update_seconds=counters.weight_update_seconds,
            extra={
                "steps": counters.steps,
                "cached_conversations": len(core.cache),
                "parked_tokens": core.cache.parked_tokens,
                "evictions": core.cache.evictions,
            },
        )

    async def close(self) -> None:
        """Stop the engine; requests still live raise PolicyError. May be called again."""
        await asyncio.to_thread(self._loop.close)

    def _checked(self, tokens: Sequence[int] | Int32, what: str) -> Int32:
        """Return tokens as an array of our own, or raise PolicyError naming what is wrong."""
        array = np.array(tokens, dtype=np.int32)
        if array.ndim != 1 or array.size == 0:
            raise PolicyError(f"{what}: expected at least one token, got an array of shape {array.shape}")
        if len(array) > self._max_context:
            raise PolicyError(f"{what}: {len(array)} tokens are more than the engine's context of {self._max_context}")
        if array.min() < 0 or array.max() >= self._runner.vocabulary:
            wrong = int(np.flatnonzero((array < 0) | (array >= self._runner.vocabulary))[0])
            raise PolicyError(
                f"{what}: token {array[wrong]} at position {wrong} is outside the vocabulary of "
                f"{self._runner.vocabulary}; is the tokenizer that of another model?"
            )
        return array


def _reply() -> Reply:
    loop = asyncio.get_running_loop()
    return Reply(loop, loop.create_future())


def _check_sampling(sampling: SamplingParams, request_id: str) -> None:
    for name, value, expected, valid in (
        ("max_tokens", sampling.max_tokens, "0 or more", sampling.max_tokens >= 0),
        ("temperature", sampling.temperature, "0 or more", sampling.temperature >= 0),
        ("top_k", sampling.top_k, "0 or more", sampling.top_k >= 0),
        ("top_p", sampling.top_p, "above 0, at most 1", 0 < sampling.top_p <= 1),
    ):
        if not valid:
            raise PolicyError(f"request {request_id}: {name} is {value}, expected {expected}")
