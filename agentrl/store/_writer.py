"""One writer thread with group commit: whatever waits shares one transaction, and one wait for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agentrl.errors import StoreError
from agentrl.store._failures import explain

Result = TypeVar("Result")
MAX_BATCH = 512
"""Most jobs of one transaction: bounds how long the first of them waits."""

_OF_THE_JOB = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""Failures of SQLite that say nothing about the disk or the file: only the job at fault is undone."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs jobs on a connection of its own, in order, and answers each once its transaction is on disk.

    A job that raises is undone alone. Where SQLite or the disk fails, every job of the transaction is undone and fails.

    Args:
        connection: The write connection; the writer closes it.
        path: The store file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._closed = False
        # A daemon: a process that ends without `close` loses nothing that was acknowledged, and must not hang.
        self._thread = threading.Thread(target=self._run, name=f"store-writer {path.name}", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `work` within a transaction and return its result once that is durable.

        Cancelling the wait does not undo the work.

        Raises:
            StoreError: The store is closed or the disk failed; the work had no effect.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        with self._guard:
            if self._closed:
                raise StoreError(f"the trajectory store {self._path} is closed; open it again with SqliteStore.open")
            self._jobs.put(_Job(work, loop, future))
        return await future

    def close(self) -> None:
        """Finish what was submitted, fold the log into the file and close it. Blocks; repeating it only waits."""
        with self._guard:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            batch: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == MAX_BATCH:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            closing = job is None
            if batch:
                self._commit(batch)
                _answer(batch)
        with contextlib.closing(self._connection), contextlib.suppress(sqlite3.Error):
            # What cannot be folded in now stays in the log beside the file and is read from there.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _commit(self, batch: list[_Job]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                self._connection.execute("SAVEPOINT job")
                try:
                    job.result = job.work(self._connection)
                except BaseException as error:  # handed to the one who submitted it
                    if isinstance(error, sqlite3.Error) and not isinstance(error, _OF_THE_JOB):
                        raise
                    job.error = self._explained(error)
                    self._connection.execute("ROLLBACK TO job")
                self._connection.execute("RELEASE job")
            self._connection.execute("COMMIT")
        except BaseException as error:  # the thread must outlive it: others wait for answers
            for job in batch:
                job.error = self._explained(error)
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:  # SQLite itself rolls back on some failures
                    self._connection.execute("ROLLBACK")

    def _explained(self, error: BaseException) -> BaseException:
        """Return what a waiter is told; a new object each, since they are raised in different tasks."""
        if not isinstance(error, sqlite3.Error):
            return error
        told = explain(error, self._path, "writing")
        told.__cause__ = error
        return told


def _answer(batch: list[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = defaultdict(list)
    for job in batch:
        by_loop[job.loop].append(job)
    for loop, jobs in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, jobs)


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():  # its waiter was cancelled
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
