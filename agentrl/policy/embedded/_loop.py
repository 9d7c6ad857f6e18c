"""The engine's thread: takes commands between two steps, steps while there is work, sleeps otherwise."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agentrl.errors import PolicyError
from agentrl.policy.embedded._core import EngineCore
from agentrl.policy.embedded._queue import Reply, Request
from agentrl.policy.embedded._runner import Runner
from agentrl.trajectory._types import Int32


@dataclass(frozen=True, slots=True)
class Score:
    """One call to `score`."""

    tokens: Int32
    start: int
    reply: Reply


class DecodeLoop:
    """Runs an engine core in a thread of its own.

    Args:
        core: The engine; only the thread touches it once it has started.
        runner: The model's forward pass.
        threads: Threads of torch's own that the engine uses.
        score_tokens: Most tokens of one scoring pass; a longer sequence gets a pass of its own.
    """

    def __init__(self, core: EngineCore, runner: Runner, *, threads: int, score_tokens: int = 2048) -> None:
        self._core = core
        self._runner = runner
        self._threads = threads
        self._score_tokens = score_tokens
        self._wake = threading.Condition()
        self._commands: deque[Callable[[], None]] = deque()
        self._open_replies: set[Reply] = set()
        self._scores: deque[Score] = deque()
        self._closing = False
        self._death: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="agentrl-embedded-engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def generate(self, request: Request) -> None:
        """Queue a request."""
        self._submit(request.reply, lambda: self._core.waiting.push(request))

    def cancel(self, request: Request) -> None:
        """Note that the caller of a request has gone away; its slot is freed before the next step."""
        request.cancelled = True
        with self._wake:
            self._commands.append(self._core.drop_cancelled)
            self._wake.notify()

    def score(self, score: Score) -> None:
        """Queue a sequence to score."""
        self._submit(score.reply, lambda: self._scores.append(score))

    def update(self, version: int, tensors: Mapping[str, torch.Tensor], reply: Reply) -> None:
        """Swap weights before the next step; the reply tells when it is done, or why it could not be."""
        self._submit(reply, lambda: self._answering(reply, lambda: self._core.update(version, tensors)))

    def interrupt(self, request_ids: set[str] | None, reply: Reply) -> None:
        """Interrupt requests before the next step."""
        self._submit(reply, lambda: self._answering(reply, lambda: self._core.interrupt(request_ids)))

    def release(self, request_id: str, reply: Reply) -> None:
        """Give up a trajectory's cache."""
        self._submit(reply, lambda: self._answering(reply, lambda: self._core.cache.release(request_id)))

    def close(self) -> None:
        """End the thread and wait for it; what is still open raises PolicyError."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def check_alive(self) -> None:
        """Raise PolicyError if the engine is closed or has died."""
        with self._wake:
            self._check_alive()

    def _check_alive(self) -> None:
        if self._death is not None:
            raise PolicyError(f"the embedded engine has died: {self._death!r}; restart the run") from self._death
        if self._closing:
            raise PolicyError("the embedded engine is closed")

    def _submit(self, reply: Reply, command: Callable[[], None]) -> None:
        with self._wake:
            self._check_alive()
            # Forgotten when answered, whoever answers; until then the death of the thread must reach it.
            self._open_replies.add(reply)
            reply.future.add_done_callback(lambda _: self._open_replies.discard(reply))
            self._commands.append(command)
            self._wake.notify()

    def _answering(self, reply: Reply, action: Callable[[], None]) -> None:
        try:
            action()
        except PolicyError as error:
            self._core.outbox.put(reply, error)
        else:
            self._core.outbox.put(reply, None)

    def _main(self) -> None:
        cause: BaseException | None = None
        try:
            torch.set_num_threads(self._threads)
            with torch.inference_mode():
                self._run()
        except BaseException as error:
            # Whatever ends the thread must reach the callers.
            cause = error
        with self._wake:
            self._death = cause
            self._closing = True
            replies = list(self._open_replies)
        for reply in replies:
            self._core.outbox.put(reply, self._farewell(cause))
        self._core.outbox.flush()

    def _farewell(self, cause: BaseException | None) -> PolicyError:
        if cause is None:
            return PolicyError("the embedded engine was closed while this call was under way")
        error = PolicyError(f"the embedded engine has died: {cause!r}; restart the run")
        error.__cause__ = cause
        return error

    def _run(self) -> None:
        core = self._core
        while True:
            commands = self._next_commands()
            if commands is None:
                return
            started = time.perf_counter()
            update_seconds = core.counters.weight_update_seconds
            for command in commands:
                command()
            core.admit()
            if self._scores:
                self._score_some()
            if len(core.live):
                core.step()
            core.outbox.flush()
            spent = time.perf_counter() - started
            core.counters.busy_seconds += spent - (core.counters.weight_update_seconds - update_seconds)

    def _next_commands(self) -> list[Callable[[], None]] | None:
        """Return the commands that have come, after sleeping if there is nothing else to do; None means to end."""
        core = self._core
        with self._wake:
            if not (len(core.live) or len(core.waiting) or self._scores):
                started = time.perf_counter()
                self._wake.wait_for(lambda: self._commands or self._closing)
                core.counters.idle_seconds += time.perf_counter() - started
            if self._closing:
                return None
            commands = list(self._commands)
            self._commands.clear()
            return commands

    def _score_some(self) -> None:
        """Score queued sequences together, up to the token budget, between two decode steps."""
        batch: list[Score] = []
        room = self._score_tokens
        while self._scores and (not batch or len(self._scores[0].tokens) <= room):
            score = self._scores.popleft()
            if not score.reply.future.cancelled():
                batch.append(score)
                room -= len(score.tokens)
        if not batch:
            return
        results = self._runner.score([score.tokens for score in batch], [score.start for score in batch])
        for score, logprobs in zip(batch, results, strict=True):
            answer: Any = logprobs.cpu().numpy().astype(np.float32)
            self._core.outbox.put(score.reply, answer)
