"""Tasks made from a split and an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agentrl.errors import TaskError
from agentrl.tasks._rows import beyond_end, unknown_split
from agentrl.tasks._types import Task

_DEFAULT_SPLITS: Mapping[str, int | None] = {"train": None, "test": 1000}


class SeededTasks:
    """Tasks computed on demand: worlds that are generated from a seed.

    Args:
        make: Gives the task of (split, index), always the same one. Its ids must differ over all splits, and so
            should its seeds: a test seed met in training is a leak.
        splits: Number of tasks by split; None = unlimited.
        name: What to call the source in messages.

    Example:
        >>> source = SeededTasks(lambda split, index: Task(f"{split}-{index}", split, seed=index))
        >>> source.task("test", 3).id
        'test-3'
    """

    def __init__(
        self,
        make: Callable[[str, int], Task],
        splits: Mapping[str, int | None] = _DEFAULT_SPLITS,
        name: str = "tasks",
    ) -> None:
        self.name = name
        self._make = make
        self._sizes = dict(splits)

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits, in the order given."""
        return tuple(self._sizes)

    def size(self, split: str) -> int | None:
        """Return the number of tasks in a split, or None where it is unlimited."""
        if split not in self._sizes:
            raise unknown_split(self.name, split, self._sizes)
        return self._sizes[split]

    def task(self, split: str, index: int) -> Task:
        """Return one task."""
        size = self.size(split)
        if index < 0 or (size is not None and index >= size):
            raise beyond_end(self.name, split, index, size)
        task = self._make(split, index)
        if not isinstance(task, Task) or task.split != split:
            raise TaskError(
                f"{self.name}: the maker of ({split!r}, {index}) gave {task!r}; expected a Task of that split"
            )
        return task
