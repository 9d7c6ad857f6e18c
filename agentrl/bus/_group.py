"""The queue of one group of subscribers: bounded, in order, and nothing leaves it unacknowledged."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class Message:
    """A message in a group's queue; `number` is its place in the order of publication."""

    number: int
    topic: str = field(compare=False)
    payload: bytes = field(compare=False)
    redelivered: bool = field(default=False, compare=False)


class Group:
    """Messages that wait for one of several subscribers, and those that subscribers hold.

    Lives on one event loop. A message counts against `capacity` from its publication to its acknowledgement.

    Args:
        name: For messages to people.
        capacity: Most messages waiting and held.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.closed = False
        self._capacity = capacity
        self._waiting: list[Message] = []
        self._held = 0
        self._numbers = 0
        self._wanting: list[asyncio.Future[None]] = []
        self._blocked: list[asyncio.Future[None]] = []

    @property
    def full(self) -> bool:
        """Whether a publisher must wait."""
        return not self.closed and len(self._waiting) + self._held >= self._capacity

    @property
    def load(self) -> str:
        """How full it is, in words."""
        return f"{len(self._waiting)} waiting and {self._held} unacknowledged of {self._capacity}"

    def put(self, topic: str, payload: bytes) -> None:
        """Queue a message; a closed group drops it."""
        if self.closed:
            return
        heapq.heappush(self._waiting, Message(self._numbers, topic, payload))
        self._numbers += 1
        _wake(self._wanting)

    async def take(self) -> Message | None:
        """Return the next message, held from now on; None when the group is closed."""
        while not self.closed and not self._waiting:
            await _wait(self._wanting)
        if self.closed:
            return None
        self._held += 1
        return heapq.heappop(self._waiting)

    async def room(self) -> None:
        """Wait until the group may have room."""
        if self.full:
            await _wait(self._blocked)

    def settle(self) -> None:
        """Forget a held message: it was acknowledged."""
        self._held -= 1
        _wake(self._blocked)

    def give_back(self, message: Message) -> None:
        """Queue a held message again, at its old place."""
        self._held -= 1
        message.redelivered = True
        heapq.heappush(self._waiting, message)
        _wake(self._wanting)

    def close(self) -> None:
        """End: takers get None, publishers go on."""
        self.closed = True
        self._waiting.clear()
        _wake(self._wanting)
        _wake(self._blocked)


async def _wait(waiters: list[asyncio.Future[None]]) -> None:
    with _registered(waiters) as future:
        await future


@contextmanager
def _registered(waiters: list[asyncio.Future[None]]) -> Iterator[asyncio.Future[None]]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiters.append(future)
    try:
        yield future
    finally:
        if future in waiters:
            waiters.remove(future)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    # All of them look again: waking exactly one would lose the wake-up when that one is cancelled meanwhile.
    woken, waiters[:] = list(waiters), []
    for future in woken:
        if not future.done():
            future.set_result(None)
