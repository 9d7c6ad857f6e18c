"""Who is present, within one process."""

from __future__ import annotations

import asyncio
from collections import Counter


class Presence:
    """Names that are present; a name announced twice is present until both have left."""

    def __init__(self) -> None:
        self._announced: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._closed = False

    def enter(self, name: str) -> None:
        """Count a name in."""
        self._announced[name] += 1
        if self._announced[name] == 1:
            self._notify()

    def leave(self, name: str) -> None:
        """Count a name out."""
        self._announced[name] -= 1
        if self._announced[name] == 0:
            del self._announced[name]
            self._notify()

    def names(self) -> frozenset[str]:
        """Return the names that are present."""
        return frozenset(self._announced)

    async def next_names(self, seen: frozenset[str] | None) -> frozenset[str] | None:
        """Return the names as soon as they differ from `seen`; None once closed."""
        while not self._closed and seen == self.names():
            await self._changed.wait()
        return None if self._closed else self.names()

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class PresenceChanges:
    """The names of now, then the newest set after each change, until the presence is closed."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._seen: frozenset[str] | None = None

    def __aiter__(self) -> PresenceChanges:
        return self

    async def __anext__(self) -> frozenset[str]:
        names = await self._presence.next_names(self._seen)
        if names is None:
            raise StopAsyncIteration
        self._seen = names
        return names
