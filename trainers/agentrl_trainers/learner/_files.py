"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from agentrl.errors import StoreError

TEMPORARY = ".tmp-"
"""What the names of unfinished folders contain; they start with a dot."""


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to write into, which becomes `target` once it is complete and on the disk.

    An existing `target` is replaced, and stays as it was when anything fails. A process killed in the middle leaves a
    hidden folder beside it, which `remove_leftovers` removes.

    Raises:
        StoreError: It cannot be written, e.g. the disk is full; the message has the free space.
    """
    temporary = target.with_name(f".{target.name}{TEMPORARY}{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        for path in sorted(temporary.rglob("*")):
            _sync(path)
        _sync(temporary)
        _put_in_place(temporary, target)
    except (OSError, SafetensorError) as error:
        raise StoreError(_cannot_write(target, temporary, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder."""
    for path in folder.glob(f".*{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def _put_in_place(temporary: Path, target: Path) -> None:
    replaced = temporary.with_name(f"{temporary.name}-replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        target.rename(replaced)
    temporary.rename(target)
    _sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(target: Path, temporary: Path, error: Exception) -> str:
    written = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
    place = next((parent for parent in target.parents if parent.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    return (
        f"{target} cannot be written: {error}; {written / 1e6:.1f} MB were written, {free / 1e6:.1f} MB are free. "
        "What was there before is unchanged. Free some space or choose another output folder, then go on with --resume"
    )
