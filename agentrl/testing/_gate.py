"""Slots, holding and interruption of the scripted engine; event-driven, no clock but the delay that was asked for."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count


@dataclass(eq=False)
class Request:
    """A request between arrival and return."""

    id: str
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    resumed: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Future[bool] | None = None


class Gate:
    """Lets requests in by priority and tells them, at each token boundary, whether to go on.

    Args:
        slots: Requests inside at the same time.
        seconds_per_token: Delay before each token.
    """

    def __init__(self, slots: int, seconds_per_token: float) -> None:
        self.slots = slots
        self._delay = seconds_per_token
        self._held = False
        self._live: set[Request] = set()
        self._queue: list[tuple[float, int, asyncio.Future[bool]]] = []
        self._arrivals = count()
        self.running = 0

    @property
    def waiting(self) -> int:
        """Requests queued for a slot."""
        return sum(not future.done() for _, _, future in self._queue)

    @asynccontextmanager
    async def enter(self, request_id: str, priority: float) -> AsyncIterator[Request]:
        """Hold a slot; one that is interrupted while it waits gets in at once, to return without a token."""
        request = Request(request_id)
        self._live.add(request)
        try:
            has_slot = await self._wait_for_slot(request, priority)
            try:
                yield request
            finally:
                if has_slot:
                    self._leave()
        finally:
            self._live.discard(request)

    async def next_token(self, request: Request) -> bool:
        """Wait for the next token boundary; return False where the request was interrupted."""
        if self._delay:
            with suppress(TimeoutError):
                await asyncio.wait_for(request.interrupted.wait(), self._delay)
        else:
            await asyncio.sleep(0)
        while self._held and not request.interrupted.is_set():
            request.resumed.clear()
            await request.resumed.wait()
        return not request.interrupted.is_set()

    def interrupt(self, request_ids: Sequence[str] | None) -> None:
        """Interrupt the named requests, or all."""
        for request in self._live:
            if request_ids is None or request.id in request_ids:
                request.interrupted.set()
                request.resumed.set()
                if request.turn is not None and not request.turn.done():
                    request.turn.set_result(False)

    def hold(self) -> None:
        """Stop everything at its next token boundary."""
        self._held = True

    def resume(self) -> None:
        """Go on."""
        self._held = False
        for request in self._live:
            request.resumed.set()

    async def _wait_for_slot(self, request: Request, priority: float) -> bool:
        if self.running < self.slots and not self.waiting:
            self.running += 1
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        request.turn = turn
        heapq.heappush(self._queue, (priority, next(self._arrivals), turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.result():  # let in and cancelled in the same moment
                self._leave()
            raise

    def _leave(self) -> None:
        self.running -= 1
        while self._queue and self.running < self.slots:
            _, _, turn = heapq.heappop(self._queue)
            if not turn.done():
                self.running += 1
                turn.set_result(True)
