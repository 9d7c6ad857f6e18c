"""The bus within one process: bounded queues on one event loop."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agentrl.bus._base import MAX_PAYLOAD, PUBLISH_SECONDS, Delivery, check_payload, check_topic
from agentrl.bus._group import Group, Message
from agentrl.bus._presence import Presence, PresenceChanges
from agentrl.errors import ProtocolError


class InProcessBus:
    """A Bus for publishers and subscribers on one event loop; nothing to start, nothing survives the process.

    Args:
        capacity: Messages one group of subscribers may be behind, those it holds unacknowledged included. A subscriber
            that gathers a batch before it acknowledges needs more than its batch.
        max_payload: Largest payload in bytes.
    """

    def __init__(self, capacity: int = 1024, max_payload: int = MAX_PAYLOAD) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}, expected at least 1")
        self._capacity = capacity
        self._max_payload = max_payload
        self._groups: defaultdict[str, dict[str, Group]] = defaultdict(dict)
        self._presence = Presence()
        self._anonymous = itertools.count()
        self._closed = False

    async def publish(self, topic: str, payload: bytes, *, timeout: float = PUBLISH_SECONDS) -> bool:
        """Hand over a message; see `Bus.publish`."""
        check_topic(topic)
        check_payload(topic, payload, self._max_payload)
        full = self._full_group(topic)
        try:
            async with asyncio.timeout(timeout):
                while full is not None:
                    await full.room()
                    full = self._full_group(topic)
        except TimeoutError:
            assert full is not None  # only a full group is waited for
            raise TimeoutError(
                f"no room for a message on {topic!r} within {timeout} s: subscriber group {full.name!r} is behind "
                f"({full.load}); look why it does not acknowledge, or start another subscriber"
            ) from None
        self._check_open()
        groups = self._groups.get(topic, {}).values()  # no await from the look for room to here: all get it, or none
        for group in groups:
            group.put(topic, payload)
        return bool(groups)

    @asynccontextmanager
    async def subscribe(self, topic: str, *, group: str | None = None) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Subscribe to a topic; see `Bus.subscribe`."""
        check_topic(topic)
        self._check_open()
        # The NUL keeps the names of lone subscribers apart from any group's.
        name = group if group is not None else f"\0{next(self._anonymous)}"
        queue = self._groups[topic].setdefault(name, Group(group or f"a subscriber of {topic}", self._capacity))
        deliveries = _Deliveries(queue)
        try:
            yield deliveries
        finally:
            deliveries.end()
            if group is None:
                del self._groups[topic][name]
                queue.close()

    @asynccontextmanager
    async def announce(self, name: str) -> AsyncIterator[None]:
        """Be present under a name; see `Bus.announce`."""
        self._check_open()
        self._presence.enter(name)
        try:
            yield
        finally:
            self._presence.leave(name)

    async def present(self) -> frozenset[str]:
        """Return the names that are present now."""
        return self._presence.names()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[frozenset[str]]]:
        """Watch who is present; see `Bus.watch`."""
        self._check_open()
        yield PresenceChanges(self._presence)

    async def close(self) -> None:
        """End every subscription and watch; repeating it changes nothing."""
        self._closed = True
        for groups in self._groups.values():
            for group in groups.values():
                group.close()
        self._presence.close()

    def _full_group(self, topic: str) -> Group | None:
        self._check_open()
        return next((group for group in self._groups.get(topic, {}).values() if group.full), None)

    def _check_open(self) -> None:
        if self._closed:
            raise ProtocolError("the bus is closed; nothing can be published or subscribed to any more")


class _Deliveries:
    """Deliveries of one subscription. Unlike a generator it goes on after a cancelled wait."""

    def __init__(self, queue: Group) -> None:
        self._queue = queue
        self._held: dict[int, Message] = {}
        self._ended = False

    def __aiter__(self) -> _Deliveries:
        return self

    async def __anext__(self) -> Delivery:
        message = None if self._ended else await self._queue.take()
        if message is None:
            raise StopAsyncIteration
        if self._ended:  # while this waited
            self._queue.give_back(message)
            raise StopAsyncIteration
        self._held[message.number] = message

        async def acknowledge() -> None:
            if self._held.pop(message.number, None) is not None:
                self._queue.settle()

        return Delivery(message.topic, message.payload, message.redelivered, acknowledge)

    def end(self) -> None:
        """Hand what was not acknowledged to the rest of the group, and take no more."""
        self._ended = True
        while self._held:
            _, message = self._held.popitem()
            self._queue.give_back(message)
