"""A task, and what gives tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Task:
    """One problem instance.

    Attributes:
        id: Unique within its environment and stable over runs.
        split: "train", "test" or any other name the source uses.
        seed: Seed for everything random in the episode's world.
        prompt: What the agent is asked, where the environment takes it from the task.
        answer: Ground truth, where there is one.
        data: All further fields of the row; also readable as attributes (`task.level`).
    """

    id: str
    split: str = "train"
    seed: int = 0
    prompt: Any = None
    answer: Any = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "data":
            raise AttributeError(name)
        try:
            return self.data[name]
        except KeyError:
            fields = ", ".join(["id", "split", "seed", "prompt", "answer", *self.data])
            raise AttributeError(f"task {self.id!r} has no field {name!r}; it has {fields}") from None


@runtime_checkable
class TaskSource(Protocol):
    """Tasks by split and index; finite or unlimited."""

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits, in the source's own order."""
        ...

    def size(self, split: str) -> int | None:
        """Return the number of tasks in a split, or None where it is unlimited."""
        ...

    def task(self, split: str, index: int) -> Task:
        """Return one task; the same (split, index) always gives the same task.

        Raises:
            TaskError: The split is unknown or the index beyond its size.
        """
        ...
