"""Requests on their way into the engine, and the answers on their way out."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agentrl.policy._base import SamplingParams
from agentrl.policy.embedded._conversations import Conversation
from agentrl.trajectory._types import Int32


@dataclass(eq=False, slots=True)
class Reply:
    """Where the answer to a call goes: a future of the caller's event loop."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(eq=False, slots=True)
class Request:
    """One call to `generate`.

    Attributes:
        request_id: Trajectory it belongs to.
        prompt: The whole context so far.
        sampling: How to sample.
        priority: Smaller starts first.
        limit: Most tokens to sample, the context limit included.
        stop: Stop tokens.
        seed_key: Scrambled seed.
        block_keys: Chained hashes of the prompt's blocks.
        reply: Where the answer goes.
        cancelled: The caller has gone away.
        cached: Prompt tokens whose keys and values were reused.
        arrival: Rank among requests of equal priority; kept when it has to start again.
        conversation: Seat in the cache while it runs.
        tokens, logprobs, entropies: Sampled so far.
    """

    request_id: str
    prompt: Int32
    sampling: SamplingParams
    priority: float
    limit: int
    stop: frozenset[int]
    seed_key: int
    block_keys: list[int]
    reply: Reply
    cancelled: bool = False
    cached: int = 0
    arrival: int = -1
    conversation: Conversation | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)


class WaitingQueue:
    """Waiting requests: smallest priority first, among equals first come first served."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Request]] = []
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, request: Request) -> None:
        """Add a request behind those of equal priority, or put one back to where it was."""
        if request.arrival < 0:
            request.arrival = next(self._arrivals)
        heapq.heappush(self._heap, (request.priority, request.arrival, request))

    def drain(self) -> Iterator[Request]:
        """Take requests out in order until the caller stops."""
        while self._heap:
            yield heapq.heappop(self._heap)[2]

    def take(self, request_ids: set[str] | None) -> list[Request]:
        """Remove and return the named requests, or all."""
        taken = [entry for entry in self._heap if request_ids is None or entry[2].request_id in request_ids]
        self._heap = [entry for entry in self._heap if entry not in taken]
        heapq.heapify(self._heap)
        return [request for _, _, request in sorted(taken)]

    def discard_cancelled(self) -> None:
        """Remove requests whose caller has gone away."""
        self._heap = [entry for entry in self._heap if not entry[2].cancelled]
        heapq.heapify(self._heap)


class Outbox:
    """Answers collected during a step and handed over together: one wake-up per event loop and step."""

    def __init__(self) -> None:
        self._answers: list[tuple[Reply, Any]] = []

    def put(self, reply: Reply, answer: Any) -> None:
        """Add an answer; an exception is raised at the caller."""
        self._answers.append((reply, answer))

    def flush(self) -> None:
        """Hand everything over. Answers for an event loop that is closed have nobody left to read them."""
        if not self._answers:
            return
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = defaultdict(list)
        for reply, answer in self._answers:
            by_loop[reply.loop].append((reply.future, answer))
        self._answers = []
        for loop, answers in by_loop.items():
            if not loop.is_closed():
                _hand_over(loop, answers)


def _hand_over(loop: asyncio.AbstractEventLoop, answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    try:
        loop.call_soon_threadsafe(_resolve, answers)
    except RuntimeError:
        # It closed between the check and the call; any other RuntimeError is a fault of ours.
        if not loop.is_closed():
            raise


def _resolve(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
