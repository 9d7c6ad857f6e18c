"""Writing a resolved run file.

Own code rather than a TOML library for one thing: each field's text stands beside its value.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from agentrl.config._options import find_option
from agentrl.config._run import RunConfig, Section
from agentrl.errors import ConfigError

RESOLVED_NAME = "resolved.toml"
"""Name of the resolved run file in a run folder."""


def save_resolved(config: RunConfig, folder: str | Path) -> Path:
    """Write every field of a run, defaults included, to `folder/resolved.toml`; atomic. Returns the file.

    `load_run` reads it back equal.

    Raises:
        ConfigError: An environment argument is of a type that TOML does not have.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / RESOLVED_NAME
    draft = folder / f".{RESOLVED_NAME}.{os.getpid()}"
    draft.write_text(dumps(config), encoding="utf-8")
    draft.replace(target)
    return target


def dumps(config: RunConfig) -> str:
    """Return a run as TOML text, with the text of each field as a comment."""
    lines = ["# Every field of this run, defaults included."]
    sections: dict[str, Any] = {}
    for name, value in config:
        if isinstance(value, tuple | Section):
            sections[name] = value
        else:
            lines.append(_line((name,), value))
    for name, value in sections.items():
        for index, entry in enumerate(value if isinstance(value, tuple) else (value,)):
            entries = isinstance(value, tuple)
            lines += _section((name, index) if entries else (name,), f"[[{name}]]" if entries else f"[{name}]", entry)
    return "\n".join(lines) + "\n"


def _section(place: tuple[str | int, ...], head: str, section: Section) -> list[str]:
    """Return the lines of a section; sections in it come after its own values, as TOML has it."""
    lines, inner = ["", head], []
    for key, field in section:
        if isinstance(field, Section):
            inner += _section((*place, key), f"[{'.'.join(str(part) for part in (*place, key))}]", field)
        else:
            lines.append(_line((*place, key), field))
    return lines + inner


def _line(key: tuple[str | int, ...], value: Any) -> str:
    option = find_option(key)
    # What is not given cannot be written as a value; the comment shows that it could be.
    text = f"# {key[-1]} =" if value is None and option else f"{key[-1]} = {_value(value, key)}"
    return f"{text}  # {option.text}" if option and option.text else text


def _value(value: Any, key: tuple[str | int, ...]) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return repr(float(value))
        case str() | PurePath():
            return _string(str(value))
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case list() | tuple():
            return "[" + ", ".join(_value(item, key) for item in value) + "]"
        case Mapping():
            pairs = (f"{_key(str(name))} = {_value(item, (*key, str(name)))}" for name, item in value.items())
            return "{" + ", ".join(pairs) + "}"
    place = ".".join(str(part) for part in key)
    raise ConfigError(
        f"`{place}` = {value!r} is a {type(value).__name__}, which a run file cannot hold;"
        " expected text, numbers, true or false, dates, lists or tables of these"
    )


def _string(text: str) -> str:
    # JSON's escapes are TOML's; only DEL, which TOML forbids raw, is let through by JSON.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _string(name)
