"""From a failed validation to one message that names every mistake, its place and what was expected."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agentrl.config._options import INDEX, find_option, keys_under, options

Location = tuple[str | int, ...]


def explain(error: ValidationError, path: Path, text: str, overrides: Mapping[str, str]) -> str:
    """Return the message for a run file that was read but is wrong.

    Args:
        error: What pydantic found.
        path: The run file.
        text: Its text, searched for line numbers.
        overrides: Command-line values by key; a mistake in one is said to be there.
    """
    details = error.errors(include_url=False)
    mistakes = [_mistake(detail) for detail in details if not _follows(detail, details)]
    lines = []
    for detail, words in mistakes:
        key = dotted(detail["loc"])
        if key in overrides:
            place = "command line: "
        else:
            number = line_of(text, detail["loc"])
            place = f"line {number}: " if number else ""
        lines.append(place + words)
    if len(lines) == 1:
        return f"{path}: {lines[0]}"
    return "\n".join([f"{path}: {len(lines)} mistakes", *(f"  {line}" for line in lines)])


def dotted(location: Sequence[str | int]) -> str:
    """Return a location as an override would name it."""
    return ".".join(str(part) for part in location)


def unknown_key(location: Location) -> str:
    """Return what to say of a key that no section has, with the nearest one."""
    parent, name = location[:-1], str(location[-1])
    said = f"unknown key `{dotted(location)}`"
    siblings = keys_under(parent)
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    if near:
        key = (*parent, near[0])
        option = find_option(key)
        suffix = f": {option.expectation()}" if option else ""
        return f"{said}; did you mean `{dotted(key)}`{suffix}"
    # The right name in the wrong section is the other common slip.
    everywhere = {option.key.rsplit(".", 1)[-1]: option for option in reversed(options())}
    near = difflib.get_close_matches(name, everywhere, n=1, cutoff=0.75)
    if near:
        option = everywhere[near[0]]
        return f"{said}; did you mean `{option.key.replace(f'.{INDEX}.', '.0.')}`: {option.expectation()}"
    where = f"`{dotted(parent)}` has" if parent else "the top level has"
    return f"{said}; {where}: {', '.join(siblings)}" if siblings else said


def line_of(text: str, location: Location) -> int | None:
    """Return the line of a TOML text that sets a key, or None where it cannot be told.

    A scan of headers and `key =` lines, not a parser: inline tables and multi-line strings may hide a key, and then
    the message goes without a number.
    """
    section: Location = ()
    entries: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[\[?)\s*([\w\-.]+)\s*\]", line)
        if header:
            name = header[2]
            if header[1] == "[[":
                entries[name] = entries.get(name, -1) + 1
            parts: list[str | int] = []
            for part in name.split("."):
                parts.append(part)
                index = entries.get(".".join(str(p) for p in parts if isinstance(p, str)))
                if index is not None:
                    parts.append(index)
            section = tuple(parts)
            if section == location:
                return number
            continue
        assignment = re.match(r"\s*([\w\-.]+)\s*=", line)
        if assignment and (*section, *assignment[1].split(".")) == location:
            return number
    return None


def _follows(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether a mistake only follows from one inside it: a list whose entries are wrong is also "too short"."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in details
    )


def _mistake(detail: ErrorDetails) -> tuple[ErrorDetails, str]:
    location, kind, value = detail["loc"], detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return detail, unknown_key(location)
    key = dotted(location)
    option = find_option(location)
    expected = option.expectation() if option else detail["msg"]
    if kind == "missing":
        return detail, f"`{key}` is missing; expected {expected}"
    if kind == "value_error":
        return detail, str(detail.get("ctx", {}).get("error", detail["msg"]))
    if key == "env":
        hint = (
            "write [[env]] with double brackets, one for each environment" if isinstance(value, dict) else "none given"
        )
        return detail, f"`env` must be one or more [[env]] sections; {hint}"
    if kind in ("model_type", "model_attributes_type"):
        return detail, f"`{key}` = {_show(value)} must be a section [{key}] with fields of its own"
    return detail, f"`{key}` = {_show(value)}, expected {expected}"


def _show(value: Any) -> str:
    """Return a value as TOML would write it, shortened."""
    is_plain = isinstance(value, bool | str | int | float)
    text = json.dumps(value, ensure_ascii=False) if is_plain else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
