"""The contract of a policy engine: tokens in, tokens out, every token with its log-prob and version."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agentrl.trajectory._types import Float32, Int32


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample one request.

    Attributes:
        max_tokens: Most tokens to sample, counting from the end of the prompt given with this call.
        temperature: 0 is greedy; log-probs are then those of temperature 1.
        top_k: Keep the k most probable tokens; 0 keeps all.
        top_p: Keep the smallest set of most probable tokens with at least this mass.
        stop_token_ids: Sampling one of these ends the generation; the stop token is part of the result.
        seed: Seed of this request. The draw for a token depends on (seed, absolute position) alone, so a request that
            is interrupted and resumed with its tokens appended to the prompt samples what it would have sampled.
    """

    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    stop_token_ids: tuple[int, ...] = ()
    seed: int = 0


class FinishReason(enum.StrEnum):
    """Why a call to `generate` returned."""

    STOP = "stop"
    """A stop token was sampled."""
    LENGTH = "length"
    """`max_tokens` were sampled, or the engine's context is full."""
    INTERRUPTED = "interrupted"
    """New weights or `interrupt()`; call again with the tokens so far appended to go on."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What one call sampled. K = number of sampled tokens, possibly 0 when interrupted.

    Attributes:
        tokens: Sampled ids [K].
        logprobs: Log-prob of each under the distribution it was drawn from: after temperature, top-k and top-p [K].
        versions: Policy version that sampled each [K].
        entropies: Entropy of that distribution in nats [K], or None where the engine cannot tell.
        finish_reason: Why it ended.
        cached_tokens: Prompt tokens whose KV was reused.
    """

    tokens: Int32
    logprobs: Float32
    versions: Int32
    finish_reason: FinishReason
    entropies: Float32 | None = None
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A snapshot for logs and for the scheduler.

    Attributes:
        version: Policy version that samples now.
        slots: Requests that can decode at the same time.
        running: Requests decoding now.
        waiting: Requests queued.
        sampled_tokens, prefilled_tokens, cached_tokens: Totals since the start.
        busy_seconds: Time spent computing since the start.
        idle_seconds: Time spent without a request since the start.
        weight_update_seconds: Time without decoding for weight updates since the start.
    """

    version: int
    slots: int
    running: int = 0
    waiting: int = 0
    sampled_tokens: int = 0
    prefilled_tokens: int = 0
    cached_tokens: int = 0
    busy_seconds: float = 0.0
    idle_seconds: float = 0.0
    weight_update_seconds: float = 0.0
    extra: Mapping[str, float] = field(default_factory=dict)


WeightSource = Path | Mapping[str, Any]
"""A folder with safetensors files, or a mapping from parameter name to tensor (in process only)."""


class PolicyEngine(Protocol):
    """A sampler of tokens with a version on each. All methods are safe to call from one event loop concurrently."""

    @property
    def version(self) -> int:
        """The policy version that samples now."""
        ...

    @property
    def max_context(self) -> int:
        """Most tokens a request can have, prompt and sampled together."""
        ...

    async def generate(
        self, prompt_tokens: Sequence[int] | Int32, sampling: SamplingParams, *, request_id: str, priority: float = 0.0
    ) -> Generation:
        """Sample a continuation.

        Args:
            prompt_tokens: The whole context so far.
            sampling: How to sample.
            request_id: Stable over the turns of one trajectory: calls with the same id share their KV cache.
            priority: Smaller decodes first among waiting requests.

        Returns:
            What was sampled, possibly cut short by an interruption.

        Raises:
            PolicyError: The prompt is empty or longer than the context, or the engine died.
        """
        ...

    async def score(self, tokens: Sequence[int] | Int32, start: int) -> Float32:
        """Return teacher-forced log-probs [len(tokens) - start] of tokens[start:] at temperature 1; start ≥ 1."""
        ...

    async def update_weights(self, version: int, source: WeightSource) -> None:
        """Swap the weights between two decode steps. Live requests return INTERRUPTED with their tokens so far.

        No KV computed under earlier weights is used afterwards. `version` must be larger than the present one.
        """
        ...

    async def interrupt(self, request_ids: Sequence[str] | None = None) -> None:
        """Make the named requests (or all) return INTERRUPTED at the next token boundary."""
        ...

    async def release(self, request_id: str) -> None:
        """Say that a trajectory is over: its KV cache may be given to others at once."""
        ...

    def stats(self) -> EngineStats:
        """Return a snapshot of counters and queues."""
        ...

    async def close(self) -> None:
        """Stop the engine; requests still live raise PolicyError."""
        ...


def empty_generation(finish_reason: FinishReason) -> Generation:
    """Return a generation without tokens."""
    return Generation(
        tokens=np.zeros(0, np.int32),
        logprobs=np.zeros(0, np.float32),
        versions=np.zeros(0, np.int32),
        finish_reason=finish_reason,
        entropies=np.zeros(0, np.float32),
    )
