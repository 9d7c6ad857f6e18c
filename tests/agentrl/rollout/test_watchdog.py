import asyncio
import os
import signal

import pytest

from agentrl.rollout import Watchdog
from agentrl.rollout._shield import finish_despite_cancellation


def test_it_speaks_after_a_minute_without_progress_and_again(doubles):
    told = []

    async def watch():
        progress = 0
        async with Watchdog(lambda: "a waits for b", lambda: progress, report=told.append):
            for _ in range(10):
                await asyncio.sleep(50)
                progress += 1
            assert not told, "it spoke although there was progress"
            await asyncio.sleep(160)

    doubles.run(watch())
    assert len(told) == 2 and "a waits for b" in told[0]
    assert told[0].startswith("no progress for 60 s") and told[1].startswith("no progress for 120 s")


async def test_it_speaks_when_asked_by_signal_and_frees_the_signal_afterwards():
    told = asyncio.Queue()
    before = signal.getsignal(signal.SIGUSR1)
    async with Watchdog(lambda: "all well", lambda: 0, report=told.put_nowait):
        os.kill(os.getpid(), signal.SIGUSR1)
        assert "all well" in await asyncio.wait_for(told.get(), 5)
    assert signal.getsignal(signal.SIGUSR1) == before


async def test_work_that_must_be_finished_is_finished_before_a_cancellation_counts():
    done = []

    async def work():
        await asyncio.sleep(0.02)
        done.append(True)

    task = asyncio.create_task(finish_despite_cancellation(work()))
    for _ in range(3):
        await asyncio.sleep(0.002)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done


async def test_the_failure_of_work_that_must_be_finished_is_not_lost_in_a_cancellation():
    async def work():
        await asyncio.sleep(0.01)
        raise OSError("disk full")

    task = asyncio.create_task(finish_despite_cancellation(work()))
    await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(OSError, match="disk full"):
        await task
