"""A session whose every call has a deadline and fails in one way only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agentrl.env._session import EnvFactory, EnvSession, Opening, Score, StepResult
from agentrl.errors import ConfigError, EnvError
from agentrl.messages import Message
from agentrl.rollout._progress import EpisodeProgress, Phase
from agentrl.tasks import Task

T = TypeVar("T")

CLOSE_TIMEOUT = 10.0
"""Seconds a session or an engine may take to free an episode's resources before it is left behind with a warning."""

logger = logging.getLogger("agentrl.rollout")


class GuardedSession:
    """An environment session as the agent loop uses it.

    Whatever goes wrong in the environment comes out as `EnvError` with the environment's name, the call and the cause;
    only `ConfigError` passes, since no other episode would fare better.

    Args:
        factory: Makes the session.
        task: The task of the episode.
        timeout: Seconds one call may take.
        progress: Where the wait is noted.
    """

    def __init__(self, factory: EnvFactory, task: Task, timeout: float, progress: EpisodeProgress) -> None:
        self._factory = factory
        self._task = task
        self._timeout = timeout
        self._progress = progress
        self._session: EnvSession | None = None

    async def reset(self) -> Opening:
        """Make the session and begin the episode."""

        async def open_and_reset() -> Opening:
            self._session = self._factory.session()
            return await self._session.reset(self._task)

        return await self._call("reset", open_and_reset)

    async def step(self, message: Message, turn: int) -> StepResult:
        """Carry out one assistant message."""
        return await self._call(f"step of turn {turn}", lambda: self._opened().step(message))

    async def demonstrate(self, turn: int) -> Message:
        """Return the expert's next message."""
        return await self._call(f"expert's action of turn {turn}", lambda: self._opened().demonstrate())

    async def finish(self) -> Score:
        """Score the episode."""
        return await self._call("score", lambda: self._opened().finish())

    async def close(self) -> None:
        """Free everything. A failure to do so is logged: the episode's result is known by then and stays valid."""
        if self._session is None:
            return
        self._progress.enter(Phase.CLOSING, "session to close")
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._session.close()
        except Exception as error:
            logger.warning(
                "environment %s did not close its session of task %s within %.0f s or failed to: %s: %s",
                self._factory.name,
                self._task.id,
                CLOSE_TIMEOUT,
                type(error).__name__,
                error,
            )

    def _opened(self) -> EnvSession:
        if self._session is None:
            raise EnvError(f"environment {self._factory.name}: the session was used before reset")
        return self._session

    async def _call(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        self._progress.enter(Phase.ENVIRONMENT, what)
        place = f"environment {self._factory.name}, task {self._task.id}, {what}"
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                return await call()
        except ConfigError:
            raise
        except TimeoutError as error:
            if not deadline.expired():
                raise EnvError(f"{place}: TimeoutError: {error}") from error
            raise EnvError(
                f"{place}: no answer within turn_timeout = {self._timeout:g} s. "
                "Raise rollout.turn_timeout if the environment is that slow."
            ) from error
        except EnvError as error:
            raise EnvError(f"{place}: {error}") from error
        except Exception as error:
            raise EnvError(f"{place}: {type(error).__name__}: {error}") from error
