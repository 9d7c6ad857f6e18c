"""Checks of wire values against what a record's fields must be; the same before writing as after reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

MAX_NESTING = 64
"""Deepest nesting of lists and mappings in tool arguments and metadata."""

Check = Callable[[Any], None]
Fields = tuple[tuple[str, Check], ...]


class MismatchError(Exception):
    """A value is not what its field must be; `path` grows on the way up to say where."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(expected)
        shown = repr(value) if isinstance(value, (int, float, str, bool, type(None))) else ""
        self.expected = expected
        self.found = f"{type(value).__name__} {shown[:60]}".rstrip()
        self.path: list[str] = []

    def __str__(self) -> str:
        where = ".".join(self.path).replace(".[", "[") or "the whole"
        return f"{where}: expected {self.expected}, found {self.found}"


def record(value: Any, fields: Fields) -> None:
    """Check a list of fields, each by its own check."""
    if not isinstance(value, (list, tuple)) or len(value) != len(fields):
        raise MismatchError(f"a list of the {len(fields)} fields {', '.join(name for name, _ in fields)}", value)
    for (name, check), item in zip(fields, value, strict=True):
        try:
            check(item)
        except MismatchError as mismatch:
            mismatch.path.insert(0, name)
            raise


def items(check: Check) -> Check:
    """Return a check of a list whose items all pass `check`."""

    def checked(value: Any) -> None:
        if not isinstance(value, (list, tuple)):
            raise MismatchError("a list", value)
        for index, item in enumerate(value):
            try:
                check(item)
            except MismatchError as mismatch:
                mismatch.path.insert(0, f"[{index}]")
                raise

    return checked


def optional(check: Check) -> Check:
    """Return a check that lets None pass."""

    def checked(value: Any) -> None:
        if value is not None:
            check(value)

    return checked


def one_of(values: Iterable[str]) -> Check:
    """Return a check of a closed set of strings."""
    allowed = {str(value) for value in values}

    def checked(value: Any) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise MismatchError(f"one of {', '.join(sorted(allowed))}", value)

    return checked


def mapping(check: Check) -> Check:
    """Return a check of a mapping from strings to values that pass `check`."""

    def checked(value: Any) -> None:
        if not isinstance(value, dict):
            raise MismatchError("a mapping", value)
        for key, item in value.items():
            if not isinstance(key, str):
                raise MismatchError("string keys", key)
            try:
                check(item)
            except MismatchError as mismatch:
                mismatch.path.insert(0, repr(key))
                raise

    return checked


def text(value: Any) -> None:
    """Check a string."""
    if not isinstance(value, str):
        raise MismatchError("a string", value)


def flag(value: Any) -> None:
    """Check a boolean."""
    if not isinstance(value, bool):
        raise MismatchError("true or false", value)


def integer(value: Any) -> None:
    """Check an integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise MismatchError("an integer", value)


def count(value: Any) -> None:
    """Check an integer of at least 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MismatchError("an integer of at least 0", value)


def number(value: Any) -> None:
    """Check a number."""
    if not isinstance(value, float) and (not isinstance(value, int) or isinstance(value, bool)):
        raise MismatchError("a number", value)


def words(value: Any) -> None:
    """Check the raw bytes of an array of 4-byte items."""
    if not isinstance(value, bytes) or len(value) % 4:
        raise MismatchError("raw bytes, a multiple of 4", value)


def json_value(value: Any, depth: int = 0) -> None:
    """Check a value of JSON's types, nested at most MAX_NESTING deep."""
    if value is None or isinstance(value, (str, bool, int, float, np.bool_, np.integer, np.floating)):
        return
    if depth == MAX_NESTING:
        raise MismatchError(f"at most {MAX_NESTING} levels of lists and mappings", value)
    pairs: Sequence[tuple[object, Any]]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise MismatchError("string keys", key)
        pairs = [(repr(key), item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        pairs = list(enumerate(value))
    else:
        raise MismatchError("one of JSON's types", value)
    for key, item in pairs:
        try:
            json_value(item, depth + 1)
        except MismatchError as mismatch:
            mismatch.path.insert(0, f"[{key}]")
            raise


def json_mapping(value: Any) -> None:
    """Check a mapping of JSON values."""
    if not isinstance(value, dict):
        raise MismatchError("a mapping", value)
    json_value(value)
