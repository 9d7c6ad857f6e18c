"""Credit methods from outside this package: by entry point, or by naming the object in the run file."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points

from agentrl.env._file import load_file, near_hint
from agentrl.errors import ConfigError, PrerequisiteError

GROUP = "agentrl.credit"
"""Entry point group under which other packages add credit methods."""

_FILE = re.compile(r"(?P<path>.+\.py):(?P<name>\w+)")
_OBJECT = re.compile(r"(?P<module>\w+(?:\.\w+)*):(?P<name>\w+)")


def outside_names() -> list[str]:
    """Return the names of the methods that other installed packages add."""
    return sorted(point.name for point in entry_points(group=GROUP))


def find_outside(name: str) -> object | None:
    """Return what a name stands for outside this package: `file.py:object`, `package.module:object` or an entry point.

    None where it has none of these forms and no package adds it.

    Raises:
        ConfigError: The file, the module or the object is not there.
        PrerequisiteError: It imports a package that is not installed.
    """
    if match := _FILE.fullmatch(name):
        return _member(load_file(match["path"]), match["name"], name)
    if match := _OBJECT.fullmatch(name):
        return _member(_imported(match["module"], name), match["name"], name)
    for point in entry_points(group=GROUP, name=name):
        return _member(_imported(point.module, f"{name!r} ({point.value})"), point.attr, f"{name!r} ({point.value})")
    return None


def _imported(module: str, place: str) -> object:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            raise ConfigError(f"credit method {place}: there is no module {error.name!r} on the Python path") from error
        raise PrerequisiteError(
            f"credit method {place} needs the package {error.name}", f"pip install {error.name}"
        ) from error
    except ImportError as error:
        raise ConfigError(f"credit method {place} cannot be imported: {error}") from error


def _member(module: object, name: str, place: str) -> object:
    if not hasattr(module, name):
        public = [member for member in vars(module) if not member.startswith("_")]
        raise ConfigError(f"credit method {place}: it has no {name!r}{near_hint(name, public, 'it has')}")
    return getattr(module, name)
