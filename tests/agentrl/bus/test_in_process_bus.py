"""The bus: nothing published is lost, nobody is flooded, and a subscriber that dies leaves its work to another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.bus import Bus, Delivery, InProcessBus
from agentrl.errors import ProtocolError

_SECONDS = 5.0


async def _next(deliveries: AsyncIterator[Delivery]) -> Delivery:
    async with asyncio.timeout(_SECONDS):
        return await anext(deliveries)


async def _nothing_comes(deliveries: AsyncIterator[Delivery]) -> bool:
    try:
        async with asyncio.timeout(0.02):
            await anext(deliveries)
    except TimeoutError:
        return True
    return False


async def test_every_group_gets_each_message_in_order_and_bytes_are_untouched() -> None:
    bus: Bus = InProcessBus()
    payloads = [bytes([index]) * index for index in range(20)]
    async with bus.subscribe("t", group="trainer") as one, bus.subscribe("t") as other:
        for payload in payloads:
            assert await bus.publish("t", payload)
        await bus.publish("another topic", b"x")
        for deliveries in (one, other):
            got = [await _next(deliveries) for _ in payloads]
            assert [delivery.payload for delivery in got] == payloads
            assert not any(delivery.redelivered for delivery in got)
            assert await _nothing_comes(deliveries)


async def test_publishing_to_nobody_is_told() -> None:
    bus = InProcessBus()
    assert not await bus.publish("t", b"1")
    async with bus.subscribe("t"):
        assert await bus.publish("t", b"2")
    assert not await bus.publish("t", b"3")


async def test_members_of_a_group_share_and_each_message_goes_to_one() -> None:
    bus = InProcessBus()
    seen: list[bytes] = []
    all_seen = asyncio.Event()

    async def member() -> None:
        async with bus.subscribe("t", group="g") as deliveries:
            async for delivery in deliveries:
                seen.append(delivery.payload)
                await delivery.ack()
                if len(seen) == 100:
                    all_seen.set()

    async with asyncio.TaskGroup() as tasks:
        members = [tasks.create_task(member()) for _ in range(4)]
        await asyncio.sleep(0)
        for index in range(100):
            await bus.publish("t", str(index).encode())
        async with asyncio.timeout(_SECONDS):
            await all_seen.wait()
        await bus.close()
    assert all(task.done() for task in members)
    assert sorted(seen, key=int) == [str(index).encode() for index in range(100)]


async def test_what_a_member_leaves_unacknowledged_goes_to_another_first_and_marked() -> None:
    bus = InProcessBus()
    async with bus.subscribe("t", group="g") as staying:
        async with bus.subscribe("t", group="g") as leaving:
            for payload in (b"1", b"2", b"3", b"4"):
                await bus.publish("t", payload)
            first, second, third = [await _next(leaving) for _ in range(3)]
            await second.ack()
        got = [await _next(staying) for _ in range(3)]
        assert [(delivery.payload, delivery.redelivered) for delivery in got] == [
            (b"1", True),
            (b"3", True),
            (b"4", False),
        ]
        await first.ack()  # too late: another has it
        await third.ack()
    async with bus.subscribe("t", group="g") as after:
        assert [(await _next(after)).payload for _ in range(3)] == [b"1", b"3", b"4"]


async def test_a_group_keeps_its_messages_while_nobody_is_there() -> None:
    bus = InProcessBus()
    async with bus.subscribe("t", group="g"):
        pass
    assert await bus.publish("t", b"1")
    async with bus.subscribe("t", group="g") as deliveries:
        assert (await _next(deliveries)).payload == b"1"


async def test_a_publisher_waits_for_a_subscriber_that_is_behind_and_goes_on_when_it_acknowledges() -> None:
    bus = InProcessBus(capacity=2)
    async with bus.subscribe("t", group="slow") as deliveries:
        await bus.publish("t", b"1")
        await bus.publish("t", b"2")
        waiting = asyncio.create_task(bus.publish("t", b"3"))
        held = await _next(deliveries)
        await asyncio.sleep(0.01)
        assert not waiting.done(), "a message that is held but not acknowledged still counts"
        await held.ack()
        await held.ack()
        async with asyncio.timeout(_SECONDS):
            assert await waiting
        with pytest.raises(
            TimeoutError, match=r"subscriber group 'slow' is behind \(2 waiting and 0 unacknowledged of 2\)"
        ):
            await bus.publish("t", b"4", timeout=0.01)


async def test_a_message_refused_for_one_full_group_reaches_no_other() -> None:
    bus = InProcessBus(capacity=1)
    async with bus.subscribe("t", group="full"), bus.subscribe("t", group="free") as free:
        await bus.publish("t", b"1")
        await (await _next(free)).ack()
        with pytest.raises(TimeoutError):
            await bus.publish("t", b"2", timeout=0.01)
        assert await _nothing_comes(free)


async def test_a_lone_subscriber_that_leaves_frees_the_publisher() -> None:
    bus = InProcessBus(capacity=1)
    async with bus.subscribe("t"):
        await bus.publish("t", b"1")
        waiting = asyncio.create_task(bus.publish("t", b"2"))
        await asyncio.sleep(0)
    async with asyncio.timeout(_SECONDS):
        assert not await waiting


async def test_a_cancelled_wait_for_a_delivery_takes_no_message_with_it() -> None:
    bus = InProcessBus()
    async with bus.subscribe("t", group="g") as deliveries:
        waits = [asyncio.create_task(_next(deliveries)) for _ in range(3)]
        await asyncio.sleep(0)
        await bus.publish("t", b"1")
        waits[0].cancel()
        waits[1].cancel()
        async with asyncio.timeout(_SECONDS):
            assert (await waits[2]).payload == b"1"
        assert await _nothing_comes(deliveries)
        await bus.publish("t", b"2")
        assert (await _next(deliveries)).payload == b"2"


async def test_an_iterator_kept_beyond_its_subscription_takes_nothing() -> None:
    bus = InProcessBus()
    async with bus.subscribe("t", group="g") as stale:
        pending = asyncio.create_task(anext(stale))
        await asyncio.sleep(0)
    await bus.publish("t", b"1")
    with pytest.raises(StopAsyncIteration):
        await anext(stale)
    with pytest.raises(StopAsyncIteration):
        await pending
    async with bus.subscribe("t", group="g") as deliveries:
        assert (await _next(deliveries)).payload == b"1"


@pytest.mark.parametrize("topic", ["", "a/+/b", "#", "a\0b", "x" * 257])
async def test_a_topic_that_no_broker_could_carry_is_refused(topic: str) -> None:
    bus = InProcessBus()
    with pytest.raises(ProtocolError, match="is malformed: expected 1 to 256 characters"):
        await bus.publish(topic, b"")
    with pytest.raises(ProtocolError, match="is malformed"):
        async with bus.subscribe(topic):
            pass


async def test_a_payload_beyond_the_limit_or_of_text_is_refused() -> None:
    bus = InProcessBus(max_payload=4)
    with pytest.raises(ProtocolError, match="has 5 bytes, the limit of this bus is 4"):
        await bus.publish("t", b"12345")
    with pytest.raises(ProtocolError, match="expected bytes"):
        await bus.publish("t", "1234")  # type: ignore[arg-type]


async def test_closing_ends_every_wait() -> None:
    bus = InProcessBus(capacity=1)
    async with bus.subscribe("full"), bus.subscribe("idle") as idle, bus.watch() as watch:
        await anext(watch)
        await bus.publish("full", b"1")
        publisher = asyncio.create_task(bus.publish("full", b"2"))
        subscriber = asyncio.create_task(anext(idle, None))
        watcher = asyncio.create_task(anext(watch, None))
        await asyncio.sleep(0)
        await bus.close()
        await bus.close()
        async with asyncio.timeout(_SECONDS):
            with pytest.raises(ProtocolError, match="the bus is closed"):
                await publisher
            assert await subscriber is None and await watcher is None
    with pytest.raises(ProtocolError, match="the bus is closed"):
        await bus.publish("t", b"1")


async def test_presence_lasts_as_long_as_its_context_also_when_that_fails() -> None:
    bus = InProcessBus()
    async with bus.announce("rollout-1"), bus.announce("rollout-1"):
        with pytest.raises(RuntimeError, match="died"):
            async with bus.announce("trainer"):
                assert await bus.present() == {"rollout-1", "trainer"}
                raise RuntimeError("died")
        assert await bus.present() == {"rollout-1"}
    assert await bus.present() == frozenset()


async def test_a_watcher_sees_who_is_there_and_then_the_newest_change() -> None:
    bus = InProcessBus()
    async with bus.announce("a"), bus.watch() as watch, asyncio.timeout(_SECONDS):
        assert await anext(watch) == {"a"}
        async with bus.announce("b"):
            assert await anext(watch) == {"a", "b"}
            async with bus.announce("c"):
                pass
            async with bus.announce("d"):
                assert await anext(watch) == {"a", "b", "d"}
        waiting = asyncio.create_task(anext(watch))
        assert await waiting == {"a"}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), messages=st.integers(1, 40), capacity=st.integers(1, 5), workers=st.integers(1, 4))
async def test_with_members_that_die_at_random_every_message_is_acknowledged_once(
    seed: int, messages: int, capacity: int, workers: int
) -> None:
    bus, rng = InProcessBus(capacity=capacity), Random(seed)
    acknowledged: Counter[bytes] = Counter()
    done = asyncio.Event()

    async def worker() -> None:
        while not done.is_set():
            async with bus.subscribe("t", group="g") as deliveries:
                async for delivery in deliveries:
                    await asyncio.sleep(0)
                    if rng.random() < 0.3:
                        break  # dies with what it holds
                    await delivery.ack()
                    acknowledged[delivery.payload] += 1
                    if sum(acknowledged.values()) == messages:
                        done.set()
                        await bus.close()

    async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(worker())
        await asyncio.sleep(0)
        for index in range(messages):
            assert await bus.publish("t", str(index).encode())
    assert acknowledged == Counter(str(index).encode() for index in range(messages))
