"""Environments in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar, cast

from agentrl.env._env import Env, overrides
from agentrl.env._episode import Episode
from agentrl.env._session import Opening, Score, StepResult
from agentrl.env._settings import check_class, check_settings, probe
from agentrl.env._source import task_source
from agentrl.env._worker import Worker, abandon_worker, lease_worker, release_worker
from agentrl.errors import EnvError
from agentrl.messages import Message
from agentrl.tasks import Task, TaskSource

Result = TypeVar("Result")

GRACE_SECONDS = 1.0
"""How long `close` waits for a call that was cut off before it gives its thread up."""
CLOSE_SECONDS = 30.0
"""How long an environment's `close` may take."""


class LocalSession:
    """One episode of an Env in this process (an `EnvSession`).

    Synchronous code runs on one thread, taken at `reset` and given back at `close`; async methods run on the event
    loop. A call that is cancelled, by a timeout for instance, leaves the session unusable but for `close`; where its
    code still runs after a short grace, its thread is given up, and closes the environment when it comes back.

    Args:
        env_class: The environment.
        settings: Keyword arguments of its constructor.
        name: Name for messages and the thread; the class's by default.
        grace: Seconds that `close` waits for a call that was cut off.
        close_timeout: Seconds the environment's `close` may take before its thread is given up.
    """

    def __init__(
        self,
        env_class: type[Env],
        settings: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        grace: float = GRACE_SECONDS,
        close_timeout: float = CLOSE_SECONDS,
    ) -> None:
        self._name = name or env_class.__name__
        self._episode = Episode(env_class, dict(settings or {}), self._name)
        self._grace = grace
        self._close_timeout = close_timeout
        self._worker: Worker | None = None
        self._state = "new"
        self._closing: asyncio.Task[None] | None = None

    @property
    def env(self) -> Env:
        """The environment's instance, between `reset` and `close`.

        Raises:
            EnvError: There is none now.
        """
        if self._episode.env is None:
            raise EnvError(f"{self._name}: there is no instance before reset and after close")
        return self._episode.env

    async def reset(self, task: Task) -> Opening:
        """Make the instance and begin the episode."""
        if self._state != "new":
            raise EnvError(f"{self._name}: reset of a session that is {self._state}; a session is one episode")
        self._worker = lease_worker(self._name)
        self._state = "ready"
        return await self._play("reset", self._episode.reset(task))

    async def step(self, message: Message) -> StepResult:
        """Carry out one assistant message."""
        return await self._play("step", self._episode.step(message))

    async def finish(self) -> Score:
        """Score the episode, however it ended."""
        return await self._play("finish", self._episode.finish())

    async def demonstrate(self) -> Message:
        """Return the expert's next message for the present state."""
        return await self._play("demonstrate", self._episode.demonstrate())

    async def close(self) -> None:
        """Close the environment and give its thread back; not stopped by cancellation, and idempotent.

        Raises:
            EnvError: The environment's own `close` failed or took too long.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(), name=f"close {self._name}")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._state = "closed"
        worker, self._worker = self._worker, None
        if worker is None:
            return
        try:
            if await worker.settle(self._grace):
                async with asyncio.timeout(self._close_timeout):
                    await _drive(worker, self._episode.close())
        except TimeoutError as error:
            raise EnvError(f"{self._name}: close did not return within {self._close_timeout:g} s") from error
        finally:
            if worker.busy:
                loop = asyncio.get_running_loop()
                abandon_worker(worker, partial(_close_late, self._episode, self._name, loop))
            else:
                release_worker(worker)

    async def _play(self, what: str, play: Generator[Awaitable[Any], Any, Result]) -> Result:
        worker = self._worker
        if self._state != "ready" or worker is None:
            raise EnvError(f"{self._name}: {what} on a session that is {self._state}; {_ADVICE[self._state]}")
        self._state = "busy"
        try:
            result = await _drive(worker, play)
        except Exception:
            self._state = "ready"
            raise
        except BaseException:
            self._state = "cut off"
            raise
        self._state = "ready"
        return result


class LocalEnv:
    """An environment class with its settings, in this process (an `EnvFactory`).

    One instance is made at once, so that wrong settings are found before any episode; it is asked what it declares
    (capabilities, tasks) and never reset.

    Args:
        env_class: The environment.
        settings: Keyword arguments of its constructor; checked and coerced against its signature here.
        name: Name in messages and logs; the class's by default.

    Attributes:
        name: As given.
        env_class: As given.
        settings: As given, coerced.
        replayable, forkable, max_turns: As the environment declares them, with these settings.
        has_expert: Whether sessions can `demonstrate`.
        has_anchors: Whether sessions name their states, equal for equal states.

    Raises:
        ConfigError: A setting is unknown or wrong, the constructor raises, or the class has neither tools nor `act`.
    """

    def __init__(
        self, env_class: type[Env], settings: Mapping[str, Any] | None = None, *, name: str | None = None
    ) -> None:
        self.name = name or env_class.__name__
        self.env_class = env_class
        check_class(env_class, self.name)
        self.settings = check_settings(env_class, settings or {}, self.name)
        self._declared = probe(env_class, self.settings, self.name)
        self.replayable = self._declared.replayable
        self.forkable = self._declared.forkable
        self.max_turns = self._declared.max_turns
        self.has_expert = overrides(env_class, "demonstrate")
        self.has_anchors = overrides(env_class, "anchor")

    def __repr__(self) -> str:
        return f"LocalEnv({self.name!r}, {self.settings})"

    @cached_property
    def tasks(self) -> TaskSource:
        """The environment's tasks, found at the first question.

        Raises:
            ConfigError: The class names no tasks, or what it names is no source of tasks.
        """
        return task_source(self._declared, self.name)

    def session(self) -> LocalSession:
        """Return a fresh single-use session."""
        return LocalSession(self.env_class, self.settings, name=self.name)


@dataclass(frozen=True, slots=True)
class _Returned:
    value: Any


async def _drive(worker: Worker, play: Generator[Awaitable[Any], Any, Result]) -> Result:
    """Run an episode's generator on its thread; await here what it yields."""
    value: Any = None
    error: Exception | None = None
    while True:
        outcome = await worker.run(partial(_advance, play, value, error))
        if isinstance(outcome, _Returned):
            return cast(Result, outcome.value)
        try:
            value, error = await outcome, None
        except Exception as raised:  # handed to the generator, which tells what it means
            value, error = None, raised


def _advance(
    play: Generator[Awaitable[Any], Any, Any], value: Any, error: Exception | None
) -> Awaitable[Any] | _Returned:
    try:
        return play.send(value) if error is None else play.throw(error)
    except StopIteration as stop:
        return _Returned(stop.value)


def _close_late(episode: Episode, name: str, loop: asyncio.AbstractEventLoop) -> None:
    """Close on the thread that was given up and came back. Nobody waits for it: failures go to the log."""

    async def wait(awaitable: Awaitable[Any]) -> None:
        await asyncio.wait_for(awaitable, CLOSE_SECONDS)

    try:
        outcome = _advance(episode.close(), None, None)
        if not isinstance(outcome, _Returned):
            asyncio.run_coroutine_threadsafe(wait(outcome), loop).result(CLOSE_SECONDS + 1)
    except Exception:
        _LOG.exception("%s: closing failed after its thread had been given up", name)


_LOG = logging.getLogger("agentrl.env")
_ADVICE = {
    "new": "call reset first",
    "busy": "calls come one at a time",
    "cut off": "an earlier call was cancelled, so its state is unknown: close it",
    "closed": "make another session",
}
