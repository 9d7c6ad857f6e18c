"""Tasks held in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

from agentrl.errors import TaskError
from agentrl.tasks._rows import beyond_end, row_task, unknown_split
from agentrl.tasks._types import Task


class ListTasks:
    """Tasks from any iterable of rows (mappings) or Tasks, walked once at the first question.

    Args:
        rows: Mappings with the fields of a JSONL row, or Tasks; `id` defaults to the position, counted from 0.
        name: What to call the source in messages.

    Raises:
        TaskError: (at the first question) a row is malformed or an id is used twice; the message names the row.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any] | Task], name: str = "tasks") -> None:
        self.name = name
        self._rows = rows
        self._known: dict[str, list[Task]] | None = None
        self._lock = Lock()

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits, in order of first appearance."""
        return tuple(self._tasks())

    def size(self, split: str) -> int:
        """Return the number of tasks in a split."""
        return len(self._split(split))

    def task(self, split: str, index: int) -> Task:
        """Return one task."""
        tasks = self._split(split)
        if not 0 <= index < len(tasks):
            raise beyond_end(self.name, split, index, len(tasks))
        return tasks[index]

    def _split(self, split: str) -> list[Task]:
        tasks = self._tasks()
        if split not in tasks:
            raise unknown_split(self.name, split, tasks)
        return tasks[split]

    def _tasks(self) -> dict[str, list[Task]]:
        with self._lock:
            if self._known is None:
                self._known = self._read()
            return self._known

    def _read(self) -> dict[str, list[Task]]:
        splits: dict[str, list[Task]] = {}
        seen: dict[str, int] = {}
        for position, row in enumerate(self._rows):
            where = f"{self.name}[{position}]"
            task = row if isinstance(row, Task) else row_task(row, str(position), where)
            if task.id in seen:
                raise TaskError(f"{where}: id {task.id!r} was used by {self.name}[{seen[task.id]}] already")
            seen[task.id] = position
            splits.setdefault(task.split, []).append(task)
        return splits
