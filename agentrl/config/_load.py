"""Reading a run file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from agentrl.config._overrides import apply_overrides
from agentrl.config._report import explain
from agentrl.config._run import RunConfig
from agentrl.errors import ConfigError


def load_run(path: str | Path, overrides: Mapping[str, str] | None = None) -> RunConfig:
    """Read a run file, lay command-line values over it, and check it.

    Args:
        path: The TOML file.
        overrides: Text of each value by dotted key, e.g. `{"trainer.lr": "2e-6", "env.0.args.level": "GoToLocal"}`.

    Raises:
        ConfigError: The file is missing, is no TOML, or has wrong keys or values; one message names all mistakes.
    """
    path = Path(path)
    overrides = dict(overrides or {})
    text = _read(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The standard library's message ends in "(at line L, column C)".
        raise ConfigError(f"{path}: this is not valid TOML: {error}") from error
    apply_overrides(data, overrides)
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, path, text, overrides)) from error


def _read(path: Path) -> str:
    if path.is_dir():
        inside = sorted(path.glob("*.toml"))
        hint = f"; it holds {', '.join(str(file) for file in inside)}" if inside else ""
        raise ConfigError(f"{path} is a folder, expected a run file (.toml){hint}")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"run file {path} does not exist{_nearby(path)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; a run file is a text file in TOML") from error
    except OSError as error:
        raise ConfigError(f"run file {path} cannot be read: {error.strerror}") from error


def _nearby(path: Path) -> str:
    """Return what to suggest instead of a file that is not there."""
    folder = path.parent
    if not folder.is_dir():
        return f": there is no folder {folder}"
    found = {file.name: file for file in sorted(folder.glob("*.toml")) if file.name != "pyproject.toml"}
    close = difflib.get_close_matches(path.name, found, n=1) or [
        name for name in found if name.removesuffix(".toml") == path.name
    ]
    if close:
        return f"; did you mean {found[close[0]]}?"
    if found:
        return "; run files there: " + ", ".join(str(file) for file in list(found.values())[:5])
    return f"; there is no .toml file in {folder.resolve()}"
