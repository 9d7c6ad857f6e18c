"""One writer per store: a lock of the operating system on a file beside it, which dies with its process.

A POSIX record lock, not flock: a forked child (an environment, a data loader) does not inherit it, so a killed run can
be resumed while its orphans still live. Record locks do not tell apart two openings in one process; a set does.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from agentrl.errors import StoreError

_held: set[str] = set()
_guard = threading.Lock()


class WriterLock:
    """The right to write to a store.

    Args:
        path: The store file; the lock is `<path>.lock`.

    Raises:
        StoreError: Another process, or this one, holds it.
        OSError: The lock file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._name = os.path.realpath(path) + ".lock"
        with _guard:
            if self._name in _held:
                raise StoreError(
                    f"{path} is already open for writing in this process; use that store, or open it read-only"
                )
            self._descriptor = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
                os.close(self._descriptor)
                raise StoreError(
                    f"{path} is being written by another process (pid {holder}): {error}. Wait for it or end it; "
                    "to look while it writes, open the store read-only"
                ) from error
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
            _held.add(self._name)

    def release(self) -> None:
        """Let others write. Repeating it changes nothing."""
        with _guard:
            if self._name in _held:
                _held.remove(self._name)
                os.close(self._descriptor)
