"""Environments out of a Python file that is no part of a package."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from agentrl.env._env import Env
from agentrl.errors import ConfigError, PrerequisiteError


def load_file(path: str) -> ModuleType:
    """Import a file once per process and return its module.

    Its folder is put at the end of the import path, so that it can import its neighbours.

    Raises:
        ConfigError: There is no such file, or it cannot be imported; the message names file and line.
        PrerequisiteError: It imports a package that is not installed.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        folder = file.parent
        neighbours = [entry.name for entry in folder.glob("*.py")] if folder.is_dir() else []
        hint = near_hint(file.name, neighbours, "that folder has")
        raise ConfigError(f"there is no file {path!r}; looked for {file}{hint}")
    name = f"agentrl_env_file_{file.stem}_{sha256(str(file).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} is not a Python file")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ConfigError) or not isinstance(error, Exception):
            raise
        raise _failure(file, error) from error
    return module


def env_classes(module: ModuleType) -> dict[str, type[Env]]:
    """Return the environments that a module defines itself, by name; names with an underscore are its own business."""
    return {
        name: member
        for name, member in vars(module).items()
        if isinstance(member, type)
        and issubclass(member, Env)
        and member.__module__ == module.__name__
        and not name.startswith("_")
    }


def near_hint(name: str, known: Iterable[str], lead: str) -> str:
    """Return "; did you mean 'x'?" or the list of what there is."""
    names = list(known)
    if near := get_close_matches(name, names, n=3, cutoff=0.5):
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; {lead} {', '.join(sorted(names)[:20])}" if names else ""


def _failure(file: Path, error: Exception) -> ConfigError:
    if isinstance(error, SyntaxError):
        return ConfigError(f"{error.filename}:{error.lineno}: {error.msg}")
    inside = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    place = f"{file}:{inside[-1].lineno}" if inside else str(file)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return PrerequisiteError(f"{place} needs the package {error.name}", f"pip install {error.name}")
    return ConfigError(f"{place}: importing the file raised {type(error).__name__}: {error}")
