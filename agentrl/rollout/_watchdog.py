"""Tells who waits for whom when nothing has moved for a while, or when asked by signal."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from types import TracebackType

logger = logging.getLogger("agentrl.rollout")


class Watchdog:
    """Logs a description of what everything waits for: after `patience` seconds without progress, and on SIGUSR1.

    It only tells; deadlines elsewhere act. Use as `async with Watchdog(scheduler.describe, scheduler.progress):`.

    Args:
        describe: Returns who waits for whom and since when.
        progress: Returns a value that changes whenever something has moved.
        patience: Seconds without a change before it speaks, and again after each such time.
        report: Where the text goes; the default is a warning in the log "agentrl.rollout".
    """

    def __init__(
        self,
        describe: Callable[[], str],
        progress: Callable[[], object],
        *,
        patience: float = 60.0,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._describe = describe
        self._progress = progress
        self._patience = patience
        self._report = report or logger.warning
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._listens = False

    async def __aenter__(self) -> Watchdog:
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGUSR1, self._asked.set)
            self._listens = True
        except (NotImplementedError, RuntimeError, ValueError, AttributeError) as error:
            # Only the main thread of a POSIX process receives signals; the timed report works everywhere.
            logger.debug("the watchdog does not listen to SIGUSR1 here: %s", error)
        self._task = asyncio.create_task(self._watch(), name="rollout watchdog")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listens:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
            self._listens = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        seen, moved = self._progress(), clock()
        told = moved
        while True:
            try:
                # A look at a counter four times in the time allowed; nothing waits for this wait.
                async with asyncio.timeout(self._patience / 4):
                    await self._asked.wait()
            except TimeoutError:
                now = self._progress()
                if now != seen:
                    seen, moved = now, clock()
                    told = moved
                elif clock() - told >= self._patience:
                    told = clock()
                    self._report(f"no progress for {told - moved:.0f} s\n{self._describe()}")
            else:
                self._asked.clear()
                self._report(f"asked by SIGUSR1\n{self._describe()}")
