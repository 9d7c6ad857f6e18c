"""Kills and full disks: what was acknowledged is there, what was not is not claimed to be."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from agentrl.errors import StoreError
from agentrl.store import SqliteStore
from agentrl.testing._trajectories import assert_same_trajectory, random_group, random_trajectory, turn_records

_WRITE_FOR_EVER = """
import asyncio, itertools, os, sys
from random import Random
from agentrl.store import SqliteStore
from agentrl.testing._trajectories import random_group, random_trajectory, turn_records

async def main():
    store = SqliteStore.open(sys.argv[1])
    first = await store.next_group_index()
    members = ((index, member) for index in itertools.count(first) for member in range(2))

    async def work():
        for index, member in members:
            await store.open_group(random_group(Random(index), index))
            made = random_trajectory(Random(f"{index}/{member}"), group_id=f"group-{index}", member=member)
            if member:
                for record in turn_records(made):
                    await store.append_turn(record)
            await store.add(made)
            os.write(1, f"{index} {member}\\n".encode())

    if os.fork() == 0:  # an orphan that outlives the kill must not keep the store locked
        os.close(1)
        os.read(0, 1)
        os._exit(0)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(16):
            tasks.create_task(work())

asyncio.run(main())
"""


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, rng = tmp_path / "s", Random(0)
    acknowledged: set[tuple[int, int]] = set()
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITE_FOR_EVER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdin is not None and child.stdout is not None
        with child.stdin, child.stdout:
            for _ in range(rng.randrange(1, 100)):
                acknowledged.add(_line(child.stdout.readline()))
            child.send_signal(signal.SIGKILL)
            acknowledged |= {_line(line) for line in child.stdout if line.endswith(b"\n")}
            child.wait(timeout=30)
            asyncio.run(_check(path, acknowledged))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def _check(path: Path, acknowledged: set[tuple[int, int]]) -> None:
    async with SqliteStore.open(path, readonly=True) as reader:
        seen = {trajectory.id for trajectory in await reader.trajectories()}
    async with SqliteStore.open(path) as store:
        stored = {trajectory.id: trajectory for trajectory in await store.trajectories()}
        assert seen == set(stored)
        assert {f"group-{index}/{member}/0" for index, member in acknowledged} <= set(stored)
        for trajectory in stored.values():
            index, member = trajectory.group_id.removeprefix("group-"), trajectory.member
            made = random_trajectory(Random(f"{index}/{member}"), group_id=f"group-{index}", member=member)
            assert_same_trajectory(trajectory, made)
            logged = await store.turns(made.id) if member else []
            assert logged == turn_records(made)[: len(logged)]
        counts = await store.counts()
        assert counts.trajectories == len(stored)


def _line(line: bytes) -> tuple[int, int]:
    index, member = line.split()
    return int(index), int(member)


async def test_a_full_disk_is_told_and_nothing_is_acknowledged_until_there_is_space(store: SqliteStore) -> None:
    rng = Random(1)
    await store.open_group(random_group(rng, size=64))
    made = [random_trajectory(rng, member=member, turns=8) for member in range(64)]
    assert await store.add(made[0])
    # SQLite's own limit makes its writes fail as a full disk does.
    await store._write(lambda connection: connection.execute("PRAGMA max_page_count = 20").fetchone())
    answers = await asyncio.gather(*(store.add(trajectory) for trajectory in made[1:]), return_exceptions=True)
    refused = [answer for answer in answers if answer is not True]
    assert refused
    for answer in refused:
        assert isinstance(answer, StoreError)
        assert f"disk full while writing {store.path}" in str(answer)
        assert "MB are free" in str(answer) and "--resume" in str(answer)
    acknowledged = {0} | {index for index, answer in enumerate(answers, start=1) if answer is True}
    assert await store.members("group-0") == acknowledged
    await store._write(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())
    for trajectory in made:
        assert await store.add(trajectory) is (trajectory.member not in acknowledged)
    for one, other in zip(made, sorted(await store.trajectories(), key=lambda each: each.member), strict=True):
        assert_same_trajectory(one, other)


def test_a_file_that_the_system_does_not_let_grow_is_told_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    code = """
import asyncio, resource, sys
from random import Random
from agentrl.errors import StoreError
from agentrl.store import SqliteStore
from agentrl.testing._trajectories import random_group, random_trajectory

async def main():
    store = SqliteStore.open(sys.argv[1])
    await store.open_group(random_group(Random(0), size=100))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    for member in range(100):
        try:
            await store.add(random_trajectory(Random(member), member=member, turns=8))
        except StoreError as error:
            print(member, error, flush=True)
            return

asyncio.run(main())
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s")], capture_output=True, text=True, timeout=60
    )
    count, _, message = answer.stdout.partition(" ")
    assert "What was being stored was not acknowledged" in message, answer.stderr
    assert 0 < int(count) < 100
    assert asyncio.run(_members(tmp_path / "s")) == set(range(int(count)))


async def _members(path: Path) -> set[int]:
    async with SqliteStore.open(path) as store:
        return await store.members("group-0")


async def test_a_cancelled_wait_leaves_the_store_working(store: SqliteStore) -> None:
    rng = Random(2)
    await store.open_group(random_group(rng))
    made = random_trajectory(rng)
    waiting = asyncio.create_task(store.add(made))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await store.add(made) in (True, False)
    assert await store.members("group-0") == {0}


async def test_many_writes_share_a_transaction(store: SqliteStore) -> None:
    rng = Random(3)
    await store.open_group(random_group(rng, size=300))
    made = [random_trajectory(rng, member=member, turns=1) for member in range(300)]
    before = _commits(store)
    await asyncio.gather(*(store.add(trajectory) for trajectory in made))
    assert _commits(store) - before < 100


def _commits(store: SqliteStore) -> int:
    """Return how many transactions the write-ahead log holds: its frames that end one name the size of the file."""
    data = Path(f"{store.path}-wal").read_bytes()
    page = int.from_bytes(data[8:12], "big")
    frames = range(32, len(data) - 24, page + 24)
    return sum(int.from_bytes(data[start + 4 : start + 8], "big") > 0 for start in frames)
