"""Tasks from a JSONL file: indexed by byte offset, parsed one by one."""

from __future__ import annotations

import json
import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from agentrl.errors import ConfigError, TaskError
from agentrl.tasks._rows import beyond_end, row_identity, row_task, unknown_split
from agentrl.tasks._types import Task


@dataclass(slots=True)
class _Split:
    """Where the rows of one split begin: 16 bytes a row, whatever the rows hold."""

    offsets: array[int] = field(default_factory=lambda: array("Q"))
    lines: array[int] = field(default_factory=lambda: array("Q"))


@dataclass(frozen=True, slots=True)
class _Index:
    splits: dict[str, _Split]
    stamp: tuple[int, int]


class JsonlTasks:
    """A file with one JSON object per line.

    The fields `id`, `split`, `seed`, `prompt` and `answer` are a Task's own; all others go to its `data`. `id` defaults
    to the line number, `split` to "train". Blank lines are skipped. The file is read at the first question, once, to
    check every line and note where it begins; tasks are then parsed one at a time.

    Args:
        path: The file; a relative path counts from the working directory. In the class attribute `tasks` of an
            environment, write the path as a string instead: it then counts from the file that defines the class.

    Raises:
        ConfigError: (at the first question) there is no such file.
        TaskError: (at the first question) a line is broken; the message names the file and the line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._known: _Index | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"JsonlTasks({str(self.path)!r})"

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits, in order of first appearance."""
        return tuple(self._index().splits)

    def size(self, split: str) -> int:
        """Return the number of tasks in a split."""
        return len(self._split(split).offsets)

    def task(self, split: str, index: int) -> Task:
        """Return one task, read from the file."""
        rows = self._split(split)
        if not 0 <= index < len(rows.offsets):
            raise beyond_end(str(self.path), split, index, len(rows.offsets))
        line = rows.lines[index]
        with self._open() as file:
            if _stamp(file) != self._index().stamp:
                raise TaskError(
                    f"{self.path} was changed while it was in use; tasks must not change during a run: start again"
                )
            file.seek(rows.offsets[index])
            row = _parse(file.readline(), self.path, line)
        return row_task(row, str(line), f"{self.path}:{line}")

    def _split(self, split: str) -> _Split:
        splits = self._index().splits
        if split not in splits:
            raise unknown_split(str(self.path), split, splits)
        return splits[split]

    def _index(self) -> _Index:
        with self._lock:
            if self._known is None:
                self._known = self._read()
            return self._known

    def _read(self) -> _Index:
        splits: dict[str, _Split] = {}
        id_hashes, id_lines = array("q"), array("Q")
        offset = 0
        with self._open() as file:
            stamp = _stamp(file)
            for line, raw in enumerate(file, start=1):
                begin, offset = offset, offset + len(raw)
                if not raw.strip():
                    continue
                task_id, split = row_identity(_parse(raw, self.path, line), str(line), f"{self.path}:{line}")
                rows = splits.setdefault(split, _Split())
                rows.offsets.append(begin)
                rows.lines.append(line)
                id_hashes.append(hash(task_id))
                id_lines.append(line)
        if not splits:
            raise TaskError(f'{self.path} has no tasks; expected one object per line, such as {{"prompt": "…"}}')
        self._refuse_repeated_ids(id_hashes, id_lines)
        return _Index(splits, stamp)

    def _refuse_repeated_ids(self, id_hashes: array[int], id_lines: array[int]) -> None:
        """Compare ids by hash first: a million of them then cost no million strings."""
        values, counts = np.unique(np.frombuffer(id_hashes, dtype=np.int64), return_counts=True)
        repeated = set(values[counts > 1].tolist())
        if not repeated:
            return
        suspects = {line for value, line in zip(id_hashes, id_lines, strict=True) if value in repeated}
        first_line: dict[str, int] = {}
        with self._open() as file:
            for line, raw in enumerate(file, start=1):
                if line not in suspects:
                    continue
                task_id, _ = row_identity(_parse(raw, self.path, line), str(line), f"{self.path}:{line}")
                if task_id in first_line:
                    raise TaskError(
                        f"{self.path}:{line}: id {task_id!r} was used in line {first_line[task_id]} already; "
                        "every task needs an id of its own (a line without `id` has its line number)"
                    )
                first_line[task_id] = line

    def _open(self) -> Any:
        try:
            return self.path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(
                f"there is no task file {str(self.path)!r}; looked for {self.path.absolute()}. "
                "Make it with one JSON object per line, or mend the path"
            ) from None
        except OSError as error:
            raise ConfigError(f"task file {self.path.absolute()} cannot be read: {error.strerror}") from error


def _stamp(file: Any) -> tuple[int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_size, stat.st_mtime_ns


def _parse(raw: bytes, path: Path, line: int) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{path}:{line}: not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise TaskError(
            f"{path}:{line}: expected one JSON object on this line, but column {error.colno}: {error.msg.lower()}"
        ) from None
    except RecursionError:
        raise TaskError(f"{path}:{line}: nested too deeply to be a task") from None
