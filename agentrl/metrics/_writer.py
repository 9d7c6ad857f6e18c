"""Writing `metrics.jsonl`: append-only, one line per step, whole again after a crash."""

from __future__ import annotations

import errno
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, SupportsFloat

from agentrl.metrics._reader import METRICS_NAME, read_lines
from agentrl.metrics._tensorboard import EventWriter

SUPERSEDED_NAME = "metrics.superseded.jsonl"
"""Where lines go that a resumed run writes anew: steps after the checkpoint it resumed from."""

Value = SupportsFloat | str | None


class MetricsWriter:
    """Appends the metrics of each step to a run folder.

    On opening, a torn last line is dropped and lines of steps from `start_step` on are moved to
    `metrics.superseded.jsonl`, so that the file holds each step once.

    Args:
        folder: The run folder; made where missing.
        tensorboard: Whether to write TensorBoard events beside, into `folder/tensorboard`.
        start_step: The first step that will be written: 0 for a fresh run, k + 1 when resuming after step k.

    Raises:
        PrerequisiteError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: str | Path, tensorboard: bool = False, *, start_step: int = 0) -> None:
        self._path = Path(folder) / METRICS_NAME
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._events = EventWriter(self._path.parent / "tensorboard", start_step) if tensorboard else None
        _repair(self._path, start_step)
        # Unbuffered: each line is one write, and a kill leaves at most one torn line.
        self._file = self._path.open("ab", buffering=0)

    def write(self, step: int, values: Mapping[str, Value]) -> None:
        """Append one step.

        Numbers that are not finite are written as null, since JSON has none; texts go to the file only.

        Args:
            step: Number of the step.
            values: Metrics by name; `step` and `time` (seconds since the epoch) are added.
        """
        row: dict[str, Any] = {"step": step, "time": round(time.time(), 3)}
        row |= {name: _plain(value) for name, value in values.items()}
        line = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
        if self._file.write(line) < len(line):
            raise OSError(errno.ENOSPC, "only part of a line could be written: the disk is full", str(self._path))
        if self._events is not None:
            numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
            self._events.write(step, {name: value for name, value in numbers.items() if name not in ("step", "time")})

    def close(self) -> None:
        """Close the files; may be called twice."""
        self._file.close()
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _repair(path: Path, start_step: int) -> None:
    lines = read_lines(path)
    kept = [text for row, text in zip(lines.rows, lines.texts, strict=True) if row["step"] < start_step]
    moved = [text for row, text in zip(lines.rows, lines.texts, strict=True) if row["step"] >= start_step]
    if not moved and not lines.torn:
        return
    if moved:
        with (path.parent / SUPERSEDED_NAME).open("a", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in moved)
    draft = path.with_suffix(".draft")
    draft.write_text("".join(f"{text}\n" for text in kept), encoding="utf-8")
    draft.replace(path)


def _plain(value: Value) -> int | float | str | None:
    if value is None or isinstance(value, int | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
