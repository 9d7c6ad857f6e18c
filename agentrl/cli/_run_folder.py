"""What a run folder tells from outside, while a run writes to it or after: only ever read."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrl.config import RESOLVED_NAME, RunConfig, load_run
from agentrl.errors import AgentRLError
from agentrl.metrics import METRICS_NAME, read_metrics
from agentrl.store import STORE_NAME, CheckpointRecord, SqliteStore, StoreCounts


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it stands.

    Attributes:
        path: The run folder.
        config: Its resolved run file.
        metrics: One dict per step.
        checkpoint: The newest checkpoint, or None.
        counts: How much the store holds, or None without a store.
        writer: Process that writes to it now, or None.
        problem: What could not be read, or None.
    """

    path: Path
    config: RunConfig
    metrics: list[dict[str, Any]]
    checkpoint: CheckpointRecord | None
    counts: StoreCounts | None
    writer: int | None
    problem: str | None = None

    @property
    def steps(self) -> int:
        """Steps done, by checkpoint or metrics, whichever is further."""
        by_checkpoint = self.checkpoint.step if self.checkpoint else 0
        return max(by_checkpoint, self.metrics[-1]["step"] if self.metrics else 0)

    @property
    def state(self) -> str:
        """`running`, `finished`, `resumable`, `not started` or `damaged`."""
        if self.writer is not None:
            return "running"
        if self.problem is not None:
            return "damaged"
        if self.checkpoint is not None and self.checkpoint.step >= self.config.steps:
            return "finished"
        return "resumable" if self.counts is not None else "not started"

    def last(self, name: str) -> float | None:
        """Return the newest value of a metric, or None where it was never written."""
        for row in reversed(self.metrics):
            if isinstance(row.get(name), int | float):
                return float(row[name])
        return None


def is_run(path: Path) -> bool:
    """Whether a folder is a run folder."""
    return (path / RESOLVED_NAME).is_file()


def find_runs(folder: Path) -> list[Path]:
    """Return the run folders at or below a folder, two levels deep, newest first."""
    if is_run(folder):
        return [folder]
    found = [file.parent for depth in ("*", "*/*") for file in folder.glob(f"{depth}/{RESOLVED_NAME}")]
    return sorted(found, key=lambda path: (path / RESOLVED_NAME).stat().st_mtime, reverse=True)


def view_run(path: Path) -> RunView:
    """Read a run folder; what is damaged in it is named in `problem`.

    Raises:
        ConfigError: It has no readable resolved run file.
    """
    config = load_run(path / RESOLVED_NAME)
    metrics: list[dict[str, Any]] = []
    checkpoint, counts, problem = None, None, None
    try:
        metrics = read_metrics(path)
        if (path / STORE_NAME).is_file():
            checkpoint, counts = asyncio.run(_read_store(path / STORE_NAME))
    except AgentRLError as error:
        problem = str(error)
    return RunView(path, config, metrics, checkpoint, counts, writer_of(path), problem)


def newest_checkpoint(path: Path) -> Path | None:
    """Return the folder of a run's newest committed checkpoint, or None where there is none."""
    if not (path / STORE_NAME).is_file():
        return None
    checkpoint, _ = asyncio.run(_read_store(path / STORE_NAME))
    return path / checkpoint.path if checkpoint else None


def writer_of(path: Path) -> int | None:
    """Return the process that holds the writer's lock of a run's store, or None.

    Asks the kernel instead of taking the lock, which could make a run that starts right now fail.
    """
    lock = path / f"{STORE_NAME}.lock"
    # struct flock: type, whence, start, length, pid; the order differs by system.
    layout, places = ("@qqihh", (2, 3)) if sys.platform == "darwin" else ("@hhqqi", (4, 0))
    fields: tuple[int, ...] = (fcntl.F_WRLCK, 0, 0, 0, 0)
    if sys.platform == "darwin":
        fields = (0, 0, 0, fcntl.F_WRLCK, 0)
    try:
        with lock.open("rb") as file:
            answer = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(layout, *fields)))
    except FileNotFoundError:
        return None
    return None if answer[places[1]] == fcntl.F_UNLCK else int(answer[places[0]])


def size_of(path: Path) -> int:
    """Return the bytes of all files of a run. A file that a live run removes meanwhile counts nothing."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def started_at(path: Path, metrics: list[dict[str, Any]]) -> float:
    """Return when a run began, in seconds since the epoch: the oldest of its files tells."""
    times = [
        file.stat().st_ctime for file in (path / STORE_NAME, path / RESOLVED_NAME, path / METRICS_NAME) if file.exists()
    ]
    first = [float(metrics[0]["time"])] if metrics and "time" in metrics[0] else []
    return min([*times, *first], default=0.0)


async def _read_store(path: Path) -> tuple[CheckpointRecord | None, StoreCounts]:
    store = SqliteStore.open(path, readonly=True)
    try:
        return await store.last_checkpoint(), await store.counts()
    finally:
        await store.close()
