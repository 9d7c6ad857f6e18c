"""The contract of the bus: bytes by topic, at least once, and who is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from agentrl.errors import ProtocolError

MAX_PAYLOAD = 64 * 1024 * 1024
"""Largest payload, in bytes, unless a bus is told otherwise."""
MAX_TOPIC = 256
PUBLISH_SECONDS = 60.0
"""How long a publisher waits for a subscriber that does not keep up."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as its subscriber has it.

    Attributes:
        topic: Topic it was published to.
        payload: What was published, byte for byte.
        redelivered: Whether an earlier subscriber had it and went away without acknowledging.
    """

    topic: str
    payload: bytes
    redelivered: bool
    _acknowledge: Callable[[], Awaitable[None]] = field(repr=False, compare=False)

    async def ack(self) -> None:
        """Say that this message is dealt with: it is never delivered again. Repeating it changes nothing.

        Acknowledge once its effect is durable. After the subscription has ended an acknowledgement comes too late: the
        message goes to another, so what is done with a message must be idempotent.
        """
        await self._acknowledge()


Subscription = AbstractAsyncContextManager[AsyncIterator[Delivery]]
"""Enter it to subscribe and iterate for deliveries; leaving it hands back what was not acknowledged."""


class Bus(Protocol):
    """Messages between processes: at least once, in the order of each publisher, each to one member of each group."""

    async def publish(self, topic: str, payload: bytes, *, timeout: float = PUBLISH_SECONDS) -> bool:
        """Hand over a message and return once the bus has it.

        Waits while a group of subscribers is behind by more than the bus holds: that is the back-pressure.

        Args:
            topic: Levels parted by "/", without the wildcards "+" and "#".
            payload: Bytes up to the bus's limit.
            timeout: Seconds to wait.

        Returns:
            False where nobody has subscribed to the topic: the message reached no one and is gone.

        Raises:
            ProtocolError: The topic is malformed or the payload too large; or the bus is closed.
            TimeoutError: A group did not keep up; it is named, and no group got the message.
        """
        ...

    def subscribe(self, topic: str, *, group: str | None = None) -> Subscription:
        """Subscribe to a topic for as long as the context is entered.

        Args:
            topic: The very topic; no wildcards.
            group: Subscribers of the same group share the messages, each goes to one of them. From its first
                subscription on a group keeps its messages, also while no member is there. Without a group the
                subscription gets every message while it lasts, and what it leaves is gone.

        Raises:
            ProtocolError: The topic is malformed, or the bus is closed.
        """
        ...

    def announce(self, name: str) -> AbstractAsyncContextManager[None]:
        """Be present under a name for as long as the context is entered, or until this process dies."""
        ...

    async def present(self) -> frozenset[str]:
        """Return the names that are present now."""
        ...

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[frozenset[str]]]:
        """Watch who is present: first the names of now, then after each change the names of then.

        A slow watcher sees the newest set, not each one in between.
        """
        ...

    async def close(self) -> None:
        """End every subscription and watch; publishers that wait get a ProtocolError."""
        ...


def check_topic(topic: str) -> None:
    """Raise ProtocolError for a topic that some bus could not carry."""
    if not topic or len(topic) > MAX_TOPIC or any(mark in topic for mark in "+#\0"):
        raise ProtocolError(
            f"topic {topic[:80]!r} is malformed: expected 1 to {MAX_TOPIC} characters, levels parted by '/', "
            "without '+', '#' and NUL"
        )


def check_payload(topic: str, payload: bytes, limit: int) -> None:
    """Raise ProtocolError for a payload that is no bytes or beyond the limit."""
    if not isinstance(payload, bytes):
        raise ProtocolError(f"payload for {topic!r} is {type(payload).__name__}, expected bytes: encode it first")
    if len(payload) > limit:
        raise ProtocolError(
            f"payload for {topic!r} has {len(payload)} bytes, the limit of this bus is {limit}; "
            "send less at once, or raise the limit on both sides"
        )
