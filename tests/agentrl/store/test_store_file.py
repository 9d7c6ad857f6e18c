"""The file: one writer, any readers, and a clear word where it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from agentrl.errors import StoreError
from agentrl.store import SqliteStore
from agentrl.testing._trajectories import random_group, random_trajectory


async def test_a_second_writer_is_refused_in_this_process_and_in_another(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="already open for writing in this process"):
        SqliteStore.open(store.path)
    # A link is the same store, and the refused attempt above must not have given up the lock.
    link = store.path.with_name("link")
    link.symlink_to(store.path)
    for path in (store.path, link):
        answer = _python("from agentrl.store import SqliteStore; import sys; SqliteStore.open(sys.argv[1])", path)
        assert answer.returncode == 1
        assert f"being written by another process (pid {os.getpid()})" in answer.stderr


async def test_readers_look_on_while_another_process_writes(store: SqliteStore) -> None:
    rng = Random(0)
    await store.open_group(random_group(rng, size=3))
    async with SqliteStore.open(store.path, readonly=True) as reader:
        for member in range(3):
            await store.add(random_trajectory(rng, member=member))
            assert await reader.members("group-0") == set(range(member + 1))
        with pytest.raises(StoreError, match="open for reading only"):
            await reader.recover()
    answer = _python(
        "import asyncio, sys\n"
        "from agentrl.store import SqliteStore\n"
        "store = SqliteStore.open(sys.argv[1], readonly=True)\n"
        "print(len(asyncio.run(store.trajectories())))",
        store.path,
    )
    assert answer.stdout.strip() == "3", answer.stderr


async def test_a_closed_store_frees_the_file_and_refuses_work(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "s")
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="is closed"):
        await store.recover()
    with pytest.raises(StoreError, match="is closed"):
        await store.counts()
    assert not (tmp_path / "s-wal").exists()
    async with SqliteStore.open(tmp_path / "s"):
        pass


def test_a_foreign_file_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 200)
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"notes\.txt is no trajectory store, or is damaged"):
            SqliteStore.open(path, readonly=readonly)
    assert path.read_text() == "dear diary, " * 200


def test_the_database_of_another_program_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.commit()
    before = path.read_bytes()
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"other\.sqlite is an SQLite file of another program"):
            SqliteStore.open(path, readonly=readonly)
    assert path.read_bytes() == before


async def test_a_store_of_a_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "s"
    await SqliteStore.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"schema 99.*pip install --upgrade agentrl"):
            SqliteStore.open(path, readonly=readonly)


async def test_an_empty_file_left_by_a_crash_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.touch()
    with pytest.raises(StoreError, match="still empty"):
        SqliteStore.open(path, readonly=True)
    async with SqliteStore.open(path) as store:
        assert await store.next_group_index() == 0


def test_looking_at_a_store_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no trajectory store at"):
        SqliteStore.open(tmp_path / "s", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Check that its folder exists"):
        SqliteStore.open(tmp_path / "file" / "s")


async def test_a_damaged_row_is_reported_not_trained_on(tmp_path: Path) -> None:
    rng = Random(0)
    path = tmp_path / "s"
    async with SqliteStore.open(path) as store:
        await store.open_group(random_group(rng))
        await store.add(random_trajectory(rng))
    with closing(sqlite3.connect(path)) as connection:
        (data,) = connection.execute("SELECT data FROM spans WHERE key = 2").fetchone()
        damaged = data[:-1] + bytes([data[-1] ^ 1])
        connection.execute("UPDATE spans SET data = ? WHERE key = 2", (damaged,))
        connection.commit()
    async with SqliteStore.open(path) as store:
        with pytest.raises(StoreError, match=r"is damaged: .*the span in row 2.*checksum"):
            await store.trajectories()


def _python(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
