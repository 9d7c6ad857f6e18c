"""Threads that run the synchronous code of environments: one thread per episode, one episode per thread at a time.

Starting a thread costs more than an episode's call, and thousands of episodes start in a minute, so threads that are
done wait for the next episode. A thread that hangs is given up: it is counted, runs the episode's last job if it ever
comes back, and ends.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from agentrl.errors import EnvError

_MAX_IDLE = 128

Job = Callable[[], None]


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """How many threads environments use.

    Attributes:
        leased: Serving an episode now.
        idle: Waiting for an episode.
        hung: Given up on and still not back.
        abandoned: Given up on since the start of the process.
    """

    leased: int
    idle: int
    hung: int
    abandoned: int


class Worker:
    """One thread with a queue of jobs. Used from one event loop at a time; see `lease_worker`."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._busy = False
        self._settled: asyncio.Future[None] | None = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._busy

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run a function on the thread and return its result, or raise what it raised.

        Cancellation leaves the function running; its result is then dropped, and the worker stays busy until it ends.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._busy = True

        def job() -> None:
            try:
                result, error = function(), None
            except BaseException as raised:
                result, error = None, raised
            _call(loop, lambda: self._deliver(future, result, error))

        self._jobs.put(job)
        return await future

    async def settle(self, seconds: float) -> bool:
        """Wait for the job under way, if there is one; return False where it outlasts `seconds`."""
        if not self._busy:
            return True
        self._settled = asyncio.get_running_loop().create_future()
        await asyncio.wait((self._settled,), timeout=seconds)
        return not self._busy

    def finish(self, last_job: Job | None = None) -> None:
        """End the thread after the jobs queued so far and `last_job`."""
        if last_job is not None:
            self._jobs.put(last_job)
        self._jobs.put(None)

    def _deliver(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._busy = False
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        if future.cancelled():
            if inspect.iscoroutine(result):
                result.close()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # an idle thread must not keep its last episode alive


class _Pool:
    """Threads between episodes, shared by all event loops of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._leased = self._hung = self._abandoned = 0

    def lease(self, name: str) -> Worker:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        try:
            worker = worker or Worker()
        except RuntimeError as error:
            raise EnvError(
                f"{name}: no thread for another episode ({error}), {self._leased} are in use; lower rollout.in_flight "
                "or raise the limit on threads (ulimit -u)"
            ) from error
        with self._lock:
            self._leased += 1
        worker.thread.name = f"agentrl-env-{name}"
        return worker

    def release(self, worker: Worker) -> None:
        worker.thread.name = "agentrl-env-idle"
        with self._lock:
            self._leased -= 1
            if keep := len(self._idle) < _MAX_IDLE:
                self._idle.append(worker)
        if not keep:
            worker.finish()

    def abandon(self, worker: Worker, last_job: Job) -> None:
        def come_back() -> None:
            try:
                last_job()
            finally:
                with self._lock:
                    self._hung -= 1

        with self._lock:
            self._leased -= 1
            self._hung += 1
            self._abandoned += 1
        worker.thread.name += "-hung"
        worker.finish(come_back)

    def stats(self) -> WorkerStats:
        with self._lock:
            return WorkerStats(self._leased, len(self._idle), self._hung, self._abandoned)


_POOL = _Pool()
lease_worker = _POOL.lease
"""Return a worker for one episode, its thread named after the environment."""
release_worker = _POOL.release
"""Give back a worker that is not busy."""
abandon_worker = _POOL.abandon
"""Give up a worker whose job does not return; the last job runs on its thread if it ever does."""
worker_stats = _POOL.stats
"""Return how many threads environments use in this process."""


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        if not loop.is_closed():
            raise
        # The loop is gone, and with it whoever waited.
