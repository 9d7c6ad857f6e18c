"""Opening the store file for writing and for reading."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from agentrl.errors import StoreError
from agentrl.store import _schema
from agentrl.store._failures import explain

BUSY_SECONDS = 5.0
"""How long to wait for another program that holds the file's write lock."""
_WAL_BYTES = 64 * 1024 * 1024


def writer_connection(path: Path) -> sqlite3.Connection:
    """Open the file for writing and make its tables where it is new. The caller holds the WriterLock.

    Raises:
        StoreError: The file cannot be opened, is damaged, foreign or newer.
    """
    try:
        connection = _connect(path, "rwc")
        try:
            if not _schema.is_new(connection):
                _schema.check(connection, path)
            # The mode is changed only once the file is known to be ours. FULL: each commit waits for the disk.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            if _schema.is_new(connection):
                _schema.create(connection)
        except BaseException:
            connection.close()
            raise
        return connection
    except sqlite3.Error as error:
        raise explain(error, path, "writing") from error


def reader_connection(path: Path) -> sqlite3.Connection:
    """Open the file for reading; a writer beside it is neither waited for nor held up.

    Raises:
        StoreError: There is no such file, or it is no trajectory store.
    """
    if not path.exists():
        raise StoreError(f"there is no trajectory store at {path}; check the run folder: agentrl runs")
    try:
        connection = _connect(path, "ro")
        try:
            if _schema.is_new(connection):
                raise StoreError(f"the trajectory store at {path} is still empty; look again when its run has begun")
            _schema.check(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection
    except sqlite3.Error as error:
        raise explain(error, path, "reading") from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    if mode == "ro" and _unwritable_and_settled(address, path):
        address += "&immutable=1"
    # Each connection is used by one thread at a time, but opened by another.
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _unwritable_and_settled(address: str, path: Path) -> bool:
    """Tell whether SQLite needs to be told that nobody writes: a folder of others, and no log left to read."""
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError:
        log = path.with_name(path.name + "-wal")
        return not log.exists() or log.stat().st_size == 0
    return False
