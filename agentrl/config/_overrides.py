"""Values from the command line, laid over the run file: `--trainer.lr 2e-6`, `--env.0.args.level GoToLocal`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from agentrl.config._options import find_option
from agentrl.errors import ConfigError


def apply_overrides(data: dict[str, Any], overrides: Mapping[str, str]) -> None:
    """Lay command-line values over a parsed run file, in place.

    Args:
        data: The parsed file.
        overrides: Text of each value by dotted key.

    Raises:
        ConfigError: A key leads through something that is no section, or to an entry of a list that is not there.
    """
    for key, text in overrides.items():
        parts = key.split(".")
        if not all(parts):
            raise ConfigError(f"command line: --{key} is no key; write it as --section.field VALUE")
        holder = _descend(data, parts, key)
        name = parts[-1]
        if isinstance(holder, list):
            if name.isdigit():
                raise ConfigError(f"command line: --{key} is a whole entry of a list; name a field: --{key}.id VALUE")
            raise _needs_number(key, parts, len(parts) - 1)
        holder[name] = parse_value(text, tuple(parts))


def _descend(data: dict[str, Any], parts: list[str], key: str) -> dict[str, Any] | list[Any]:
    """Return the table or list that holds the last part of a key, making sections on the way."""
    holder: Any = data
    for depth, part in enumerate(parts[:-1]):
        here = ".".join(parts[: depth + 1])
        if isinstance(holder, list):
            if not part.isdigit():
                raise _needs_number(key, parts, depth)
            if int(part) >= len(holder):
                raise ConfigError(
                    f"command line: --{key}: there is no entry {part}; the run file has {len(holder)}, numbered from 0"
                )
            holder = holder[int(part)]
        else:
            holder = holder.setdefault(part, {})
        if not isinstance(holder, dict | list):
            raise ConfigError(f"command line: --{key}: `{here}` is a single value ({holder!r}), it has no fields")
    found: dict[str, Any] | list[Any] = holder
    return found


def _needs_number(key: str, parts: list[str], depth: int) -> ConfigError:
    listed, rest = ".".join(parts[:depth]), ".".join(parts[depth:])
    return ConfigError(
        f"command line: --{key}: `{listed}` is a list; name the entry by its number from 0, e.g. --{listed}.0.{rest}"
    )


def parse_value(text: str, key: tuple[str, ...]) -> Any:
    """Return the value a command-line text stands for.

    A field of text or a path takes it literally. Elsewhere it is read as TOML (`8`, `2e-6`, `true`, `[1, 2]`,
    `{a = 1}`), and as text where it is none, so that quotes are rarely needed.
    """
    option = find_option(key)
    if option is not None and option.kind == "string":
        return text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # A line break would let more than one key through.
    return parsed["value"] if len(parsed) == 1 else text
