"""The trajectory store on one machine: an SQLite file in WAL mode."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from agentrl.errors import ProtocolError, StoreError
from agentrl.store import _claims, _log, _queries
from agentrl.store._base import CheckpointRecord, ClaimedGroup, GroupRecord, StoreCounts, TurnRecord
from agentrl.store._connections import reader_connection, writer_connection
from agentrl.store._failures import explain
from agentrl.store._lock import WriterLock
from agentrl.store._writer import Writer
from agentrl.trajectory import Trajectory

Result = TypeVar("Result")


class SqliteStore:
    """A TrajectoryStore in one file. One process writes; any number read, also while it writes.

    Writes that wait at the same time share one transaction, and each returns once that is on disk: keep many under way.
    Open it with `SqliteStore.open`, and close it, or use it as an async context manager:

        async with SqliteStore.open("runs/first/store.sqlite") as store:
            await store.add(trajectory)
    """

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: Writer | None, lock: WriterLock | None) -> None:
        """Use `open`."""
        self.path = path
        self._reader = reader
        self._writer = writer
        self._lock = lock
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"store-reader {path.name}")
        self._closed = False

    @classmethod
    def open(cls, path: str | Path, *, readonly: bool = False) -> SqliteStore:
        """Open a store; made with its folder where it is not there. Blocks for some milliseconds.

        Args:
            path: The file; SQLite keeps `-wal` and `-shm` beside it, the writer's lock is `.lock`.
            readonly: Only look. Always possible, also while another process writes.

        Raises:
            StoreError: Another process writes to it, the disk is full, or the file is damaged, foreign or newer.
        """
        path = Path(path)
        if readonly:
            return cls(path, reader_connection(path), None, None)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(path)
        except OSError as error:
            raise explain(error, path, "writing") from error
        try:
            connection = writer_connection(path)
            try:
                reader = reader_connection(path)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            lock.release()
            raise
        return cls(path, reader, Writer(connection, path), lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def open_group(self, group: GroupRecord) -> None:
        """Record an admission; repeating it changes nothing.

        Raises:
            StoreError: The store has another group of this id or index.
        """
        await self._write(lambda connection: _log.open_group(connection, group))

    async def open_groups(self) -> list[GroupRecord]:
        """Return groups that lack members, by index."""
        return await self._read(_queries.open_groups)

    async def next_group_index(self) -> int:
        """Return the first group index that was never admitted, gaps included."""
        return await self._read(_queries.next_group_index)

    async def members(self, group_id: str) -> set[int]:
        """Return the members of a group that have a stored trajectory; none for an unknown group."""
        return await self._read(lambda connection: _queries.members(connection, group_id))

    async def append_turn(self, record: TurnRecord) -> None:
        """Append to the turn log; repeating it changes nothing.

        Raises:
            StoreError: The group was never admitted, or the log has this turn with other tokens.
            ProtocolError: A field holds what the format cannot.
        """
        await self._write(lambda connection: _log.append_turn(connection, record))

    async def turns(self, trajectory_id: str) -> list[TurnRecord]:
        """Return the turn log of one attempt, in order, up to the first turn that is missing."""
        return await self._read(lambda connection: _queries.turns(connection, trajectory_id))

    async def add(self, trajectory: Trajectory) -> bool:
        """Store a finished trajectory with its spans; False where (group, member) is there, error or not.

        Raises:
            StoreError: The disk is full, the group was never admitted, or an id is taken by something else.
            ProtocolError: A field holds what the format cannot.
        """
        return await self._write(lambda connection: _log.add(connection, trajectory))

    async def claim(self, step: int, groups: int) -> list[ClaimedGroup]:
        """Claim the oldest complete groups for an optimizer step; [] where there are not enough.

        Claiming again for the same step returns the same groups.

        Raises:
            StoreError: A checkpoint of this step or a later one is committed.
        """
        records = await self._write(lambda connection: _claims.claim(connection, step, groups))
        return await self._read(lambda connection: _queries.claimed_groups(connection, records))

    async def commit_checkpoint(self, checkpoint: CheckpointRecord) -> None:
        """Record a checkpoint and consume what was claimed up to its step; repeating it changes nothing.

        Raises:
            StoreError: A newer checkpoint is committed, or another of the same step.
        """
        await self._write(lambda connection: _claims.commit_checkpoint(connection, checkpoint))

    async def last_checkpoint(self) -> CheckpointRecord | None:
        """Return the newest committed checkpoint."""
        return await self._read(_claims.last_checkpoint)

    async def record_version(self, version: int, step: int) -> None:
        """Record a policy version before it is published.

        Raises:
            StoreError: This version or a larger one was recorded before.
        """
        await self._write(lambda connection: _claims.record_version(connection, version, step))

    async def last_version(self) -> int | None:
        """Return the largest policy version ever recorded."""
        return await self._read(_claims.last_version)

    async def recover(self) -> int:
        """Release claims that no checkpoint consumed. Returns how many trajectories were released."""
        return await self._write(_claims.recover)

    async def trajectories(self, group_ids: Sequence[str] | None = None) -> list[Trajectory]:
        """Return stored trajectories, all or of the named groups, in the order they were stored.

        Spans that several share are the same objects.
        """
        return await self._read(lambda connection: _queries.trajectories(connection, group_ids))

    async def counts(self) -> StoreCounts:
        """Return how much the store holds."""
        return await self._read(_queries.counts)

    async def close(self) -> None:
        """Finish writing and close the file; repeating it changes nothing."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        if self._lock is not None:
            self._lock.release()

    async def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._writer is None:
            raise StoreError(f"{self.path} is open for reading only; open it without readonly=True to write")
        return await self._writer.submit(work)

    async def _read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._closed:
            raise StoreError(f"the trajectory store {self.path} is closed; open it again with SqliteStore.open")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run_query, query)

    def _run_query(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            self._reader.execute("BEGIN")
            try:
                return query(self._reader)
            finally:
                self._reader.execute("COMMIT")
        except sqlite3.Error as error:
            raise explain(error, self.path, "reading") from error
        except ProtocolError as error:
            raise StoreError(f"{self.path} is damaged: {error}; restore it from a copy") from error
