"""Threads, timeouts and closing: an environment's code never blocks the loop, and is always closed."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import warnings
from typing import ClassVar

import pytest

from agentrl import Env, EnvError, Message, Step, Task, reward
from agentrl.env import LocalSession, worker_stats

TASK = Task("t-1", prompt="begin")
GO = Message("assistant", "go")


class Threaded(Env):
    """Notes the thread of everything it is asked."""

    def __init__(self) -> None:
        self.threads = [threading.current_thread()]
        self.loops: list[object] = []
        self.closed = 0

    def reset(self, task: Task) -> str:
        self.threads.append(threading.current_thread())
        return "ready"

    def act(self, text: str) -> str:
        self.threads.append(threading.current_thread())
        return "done"

    def anchor(self) -> str:
        self.threads.append(threading.current_thread())
        return "a"

    async def metadata(self) -> dict[str, int]:
        self.loops.append(asyncio.get_running_loop())
        assert threading.current_thread() is threading.main_thread()
        return {}

    @reward
    def scored(self) -> float:
        self.threads.append(threading.current_thread())
        return 1.0

    def close(self) -> None:
        self.threads.append(threading.current_thread())
        self.closed += 1


async def test_synchronous_code_sees_one_thread_that_is_not_the_loops() -> None:
    session = LocalSession(Threaded, name="named")
    await session.reset(TASK)
    env = session.env
    assert isinstance(env, Threaded)
    assert env.threads[0].name == "agentrl-env-named"
    for _ in range(5):
        await session.step(GO)
    await session.finish()
    await session.close()
    assert len(env.threads) == 15 and len(set(env.threads)) == 1
    assert env.threads[0] is not threading.main_thread()
    assert env.loops == [asyncio.get_running_loop()], "async methods run on the loop"


async def test_sixty_four_sessions_run_at_the_same_time_each_on_its_thread() -> None:
    barrier = threading.Barrier(64, timeout=20)

    class Together(Threaded):
        def act(self, text: str) -> str:
            barrier.wait()  # passes only if all 64 are inside at once
            return super().act(text)

    sessions = [LocalSession(Together) for _ in range(64)]
    await asyncio.gather(*(session.reset(TASK) for session in sessions))
    results = await asyncio.gather(*(session.step(GO) for session in sessions))
    threads = {session.env.threads[-1] for session in sessions}
    assert len(threads) == 64 and all(result.valid for result in results)
    await asyncio.gather(*(session.close() for session in sessions))


async def test_no_thread_to_be_had_is_an_error_that_says_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    many = [LocalSession(Threaded) for _ in range(worker_stats().idle)]
    for session in many:
        await session.reset(TASK)
    monkeypatch.setattr(threading.Thread, "start", start)
    last = LocalSession(Threaded)
    with pytest.raises(EnvError, match=r"lower rollout\.in_flight"):
        await last.reset(TASK)
    await last.close()
    for session in many:
        await session.close()


async def test_threads_are_used_again_by_later_episodes() -> None:
    seen = set()
    for _ in range(50):
        session = LocalSession(Threaded)
        await session.reset(TASK)
        seen.add(session.env.threads[0])
        await session.close()
    assert len(seen) == 1


async def test_a_slow_environment_does_not_block_the_loop() -> None:
    release = threading.Event()

    class Slow(Threaded):
        def act(self, text: str) -> str:
            assert release.wait(20)
            return "at last"

    session = LocalSession(Slow)
    await session.reset(TASK)
    step = asyncio.create_task(session.step(GO))
    await asyncio.sleep(0.02)
    assert not step.done()
    release.set()
    assert (await step).messages[0].content == "at last"
    await session.close()


async def test_calls_out_of_order_say_what_is_wrong() -> None:
    session = LocalSession(Threaded)
    with pytest.raises(EnvError, match="call reset first"):
        await session.step(GO)
    with pytest.raises(EnvError, match="no instance"):
        _ = session.env
    await session.reset(TASK)
    with pytest.raises(EnvError, match="one episode"):
        await session.reset(TASK)
    first = asyncio.create_task(session.step(GO))
    await asyncio.sleep(0)
    with pytest.raises(EnvError, match="one at a time"):
        await session.step(GO)
    await first
    await session.close()
    with pytest.raises(EnvError, match="closed"):
        await session.step(GO)


async def test_close_is_idempotent_and_needs_no_reset() -> None:
    await LocalSession(Threaded).close()
    session = LocalSession(Threaded)
    await session.reset(TASK)
    env = session.env
    await asyncio.gather(session.close(), session.close())
    await session.close()
    assert env.closed == 1


async def test_close_runs_to_its_end_although_the_closer_is_cancelled() -> None:
    inside, finish, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Careful(Threaded):
        async def close(self) -> None:
            inside.set()
            await finish.wait()
            ended.set()

    session = LocalSession(Careful)
    await session.reset(TASK)
    closer = asyncio.create_task(session.close())
    await inside.wait()
    closer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closer
    assert not ended.is_set()
    finish.set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_cancelled_async_step_is_cancelled_in_the_environment_too() -> None:
    cancelled: list[bool] = []

    class Waiting(Threaded):
        async def act(self, text: str) -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
            return ""

    session = LocalSession(Waiting)
    await session.reset(TASK)
    env = session.env
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await session.step(GO)
    assert cancelled == [True]
    with pytest.raises(EnvError, match="cancelled, so its state is unknown"):
        await session.step(GO)
    await session.close()
    assert env.closed == 1


async def test_a_call_that_returns_within_the_grace_is_closed_on_its_thread_and_the_thread_is_kept() -> None:
    before = worker_stats()

    class Late(Threaded):
        def act(self, text: str) -> str:
            time.sleep(0.15)
            return ""

    session = LocalSession(Late, grace=5.0)
    await session.reset(TASK)
    env = session.env
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await session.step(GO)
    await session.close()
    assert env.closed == 1 and len(set(env.threads)) == 1
    assert worker_stats().abandoned == before.abandoned


async def test_a_hung_thread_is_given_up_counted_not_used_again_and_closes_when_it_comes_back() -> None:
    release, closed = threading.Event(), threading.Event()

    class Hung(Threaded):
        def act(self, text: str) -> str:
            assert release.wait(20)
            return ""

        def close(self) -> None:
            super().close()
            closed.set()

    before = worker_stats()
    session = LocalSession(Hung, grace=0.02)
    await session.reset(TASK)
    env = session.env
    assert isinstance(env, Hung)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await session.step(GO)
    started = time.perf_counter()
    await session.close()
    assert time.perf_counter() - started < 5, "closing does not wait for a hung thread"
    stats = worker_stats()
    assert (stats.hung, stats.abandoned) == (before.hung + 1, before.abandoned + 1)
    assert stats.leased == before.leased
    other = LocalSession(Threaded)
    await other.reset(TASK)
    assert other.env.threads[0] is not env.threads[0]
    await other.close()
    release.set()
    assert await asyncio.to_thread(closed.wait, 5)
    assert env.closed == 1 and env.threads[-1] is env.threads[0]
    await asyncio.to_thread(env.threads[0].join, 5)
    assert not env.threads[0].is_alive() and worker_stats().hung == before.hung


async def test_a_failure_to_close_late_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    class Broken(Threaded):
        def act(self, text: str) -> str:
            assert release.wait(20)
            return ""

        def close(self) -> None:
            raise OSError("stuck")

    session = LocalSession(Broken, grace=0.01)
    await session.reset(TASK)
    thread = session.env.threads[0]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await session.step(GO)
    await session.close()
    with caplog.at_level(logging.ERROR, "agentrl.env"):
        release.set()
        await asyncio.to_thread(thread.join, 5)
    assert "stuck" in caplog.text


async def test_a_close_that_hangs_is_given_up_with_an_error() -> None:
    release = threading.Event()

    class Stuck(Threaded):
        def close(self) -> None:
            release.wait(20)

    session = LocalSession(Stuck, close_timeout=0.05)
    await session.reset(TASK)
    with pytest.raises(EnvError, match=r"close did not return within 0\.05 s"):
        await session.close()
    release.set()


async def test_a_result_that_comes_after_cancellation_leaves_no_warning() -> None:
    release = threading.Event()

    class Mixed(Threaded):
        def act(self, text: str) -> object:
            assert release.wait(20)
            return self.later()

        async def later(self) -> str:
            return ""

    session = LocalSession(Mixed, grace=5.0)
    await session.reset(TASK)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await session.step(GO)
    release.set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await session.close()
        gc.collect()


async def test_an_idle_thread_does_not_keep_its_last_episode_alive() -> None:
    class Tracked(Threaded):
        alive: ClassVar[int] = 0

        def __init__(self) -> None:
            super().__init__()
            type(self).alive += 1

        def __del__(self) -> None:
            type(self).alive -= 1

        def act(self, text: str) -> Step:
            return Step("x", done=True)

    for _ in range(3):
        session = LocalSession(Tracked)
        await session.reset(TASK)
        await session.step(GO)
        await session.close()
    del session
    await asyncio.sleep(0.01)
    gc.collect()
    assert Tracked.alive == 0


async def test_a_trip_to_the_thread_costs_little() -> None:
    class Quick(Env):
        def act(self, text: str) -> str:
            return text

    session = LocalSession(Quick)
    await session.reset(TASK)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(100):
            await session.step(GO)
        best = min(best, (time.perf_counter() - started) / 100)
    await session.close()
    assert best < 500e-6, f"{best * 1e6:.0f} µs a step; far above what a thread switch costs"
