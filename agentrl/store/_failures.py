"""SQLite's errors in the words of the store: what happened to which file, and what to do."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from agentrl.errors import StoreError

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def explain(error: sqlite3.Error | OSError, path: Path, doing: str) -> StoreError:
    """Return the StoreError for a failure of SQLite or of the operating system.

    Args:
        error: What was raised.
        path: The store file.
        doing: What was being done, e.g. "writing".
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return StoreError(
            f"disk full while {doing} {path}: {error}; {_free(path)}. What was being stored was not acknowledged, "
            "everything acknowledged before is safe. Free some space, then go on with --resume"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(
            f"the operating system failed while {doing} {path}: {error}; {_free(path)}. What was being stored was not "
            "acknowledged. Check the disk, its quota and its free space, then go on with --resume"
        )
    if code in _DAMAGE:
        return StoreError(
            f"{path} is no trajectory store, or is damaged: {error}. If it is another file, give another `output` "
            "folder; if it is a store, restore it from a copy or look at it with: sqlite3 FILE 'PRAGMA integrity_check'"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"another program is writing to {path}: {error}. End it (an open sqlite3 shell?), then go on with --resume"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or isinstance(error, OSError):
        return StoreError(
            f"cannot open {path} for {doing}: {error}. Check that its folder exists and that you may write there; "
            "to look only, open it read-only"
        )
    return StoreError(f"failed while {doing} {path}: {error}. Report this with the line above it in the log")


def _free(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free / 1e6:,.1f} MB are free on its file system"
    except OSError as error:
        return f"its free space cannot be told ({error})"
