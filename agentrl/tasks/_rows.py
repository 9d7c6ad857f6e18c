"""From one row of any source to a Task, and the errors all sources share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from agentrl.errors import TaskError
from agentrl.tasks._types import Task

_OWN_FIELDS = frozenset({"id", "split", "seed", "prompt", "answer"})


def row_identity(row: object, default_id: str, where: str) -> tuple[str, str]:
    """Return (id, split) of a row after checking the fields that every task has.

    Args:
        row: What the source holds; expected to be a mapping.
        default_id: Id of a row that states none.
        where: Place of the row for messages, e.g. "shop.jsonl:7".

    Raises:
        TaskError: The row is no mapping, or one of its own fields has the wrong type.
    """
    if not isinstance(row, Mapping):
        raise TaskError(f'{where}: expected an object such as {{"prompt": "…"}}, found {_kind(row)}')
    task_id, split, seed = row.get("id", default_id), row.get("split", "train"), row.get("seed", 0)
    if isinstance(task_id, bool) or not isinstance(task_id, str | int) or task_id == "":
        raise TaskError(f"{where}: `id` must be a non-empty string or an integer, found {_kind(task_id)}")
    if not isinstance(split, str) or not split:
        raise TaskError(f'{where}: `split` must be a non-empty string such as "train", found {_kind(split)}')
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TaskError(f"{where}: `seed` must be an integer, found {_kind(seed)}")
    return str(task_id), split


def row_task(row: Mapping[str, Any], default_id: str, where: str) -> Task:
    """Return the task of a row; fields that are not a Task's own go to `data`."""
    task_id, split = row_identity(row, default_id, where)
    data = {key: value for key, value in row.items() if key not in _OWN_FIELDS}
    return Task(task_id, split, row.get("seed", 0), row.get("prompt"), row.get("answer"), data)


def unknown_split(where: str, split: str, known: Iterable[str]) -> TaskError:
    """Return the error for a split that a source does not have."""
    names = list(known)
    near = get_close_matches(split, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return TaskError(f"{where} has no split {split!r}; it has {', '.join(map(repr, names)) or 'none'}{hint}")


def beyond_end(where: str, split: str, index: int, size: int | None) -> TaskError:
    """Return the error for an index outside a split."""
    span = "0 and up" if size is None else f"0 to {size - 1}" if size else "none, it is empty"
    return TaskError(f"{where}: no task {index} in split {split!r}; indices are {span}")


def _kind(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '…'}"
