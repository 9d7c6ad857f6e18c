"""`agentrl.load`: opens any environment by the name a user has for it."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from agentrl.env._env import Env
from agentrl.env._file import env_classes, load_file, near_hint
from agentrl.env._local import LocalEnv
from agentrl.errors import ConfigError, PrerequisiteError

GROUP = "agentrl.environments"
_FILE = re.compile(r"(?P<path>.+\.py)(?::(?P<name>\w+))?")
_OBJECT = re.compile(r"(?P<module>\w+(?:\.\w+)*):(?P<name>\w+)")


def load(ref: str | type[Env], /, **args: Any) -> LocalEnv:
    """Open an environment.

    Args:
        ref: An entry-point name ("babyai"), `path/to/file.py:Class` (`file.py` alone where it defines one Env),
            `package.module:Class`, or a subclass of Env.
        **args: Settings: keyword arguments of the environment's constructor.

    Returns:
        A factory of sessions that knows its tasks.

    Raises:
        ConfigError: Nothing of that name, or a setting is unknown or wrong; the message has the nearest names.
        PrerequisiteError: The environment needs a package that is not installed; the message has the command.
    """
    if not isinstance(ref, str):
        return LocalEnv(ref, args)
    if match := _FILE.fullmatch(ref):
        found = _from_module(load_file(match["path"]), match["name"], match["path"])
    elif match := _OBJECT.fullmatch(ref):
        found = _from_module(_import(match["module"], ref), match["name"], match["module"])
    else:
        found = _from_entry_point(ref)
    return LocalEnv(found, args, name=ref)


def _from_module(module: ModuleType, name: str | None, place: str) -> type[Env]:
    classes = env_classes(module)
    if name is None:
        if len(classes) == 1:
            return next(iter(classes.values()))
        if not classes:
            raise ConfigError(f"{place} defines no environment: no subclass of agentrl.Env")
        example = next(iter(classes))
        raise ConfigError(f"{place} defines {', '.join(classes)}; say which one, such as {place}:{example}")
    found = getattr(module, name, None)
    if found is None:
        raise ConfigError(f"{place} has no class {name!r}{near_hint(name, classes, 'its environments are')}")
    if not isinstance(found, type) or not issubclass(found, Env):
        raise ConfigError(f"{place}:{name} is no subclass of agentrl.Env{near_hint(name, classes, 'there are')}")
    return found


def _import(name: str, ref: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(f"{ref}: there is no module {error.name!r} on the Python path") from error
        raise PrerequisiteError(f"{ref} needs the package {error.name}", f"pip install {error.name}") from error
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{ref}: importing {name} raised {type(error).__name__}: {error}") from error


def _from_entry_point(name: str) -> type[Env]:
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in known:
        hint = near_hint(name, known, "known are")
        raise ConfigError(
            f"there is no environment {name!r}{hint}; or give path/to/file.py:Class or package.module:Class"
        )
    entry = known[name]
    try:
        found = entry.load()
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        if entry.module == missing or entry.module.startswith(missing + "."):
            raise ConfigError(
                f"environment {name!r} points to {entry.value}, and there is no module {missing}"
            ) from error
        raise PrerequisiteError(
            f"environment {name!r} needs the package {missing}", _install(entry, missing)
        ) from error
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"environment {name!r} ({entry.value}) cannot be imported: {error}") from error
    if not isinstance(found, type) or not issubclass(found, Env):
        raise ConfigError(f"environment {name!r} ({entry.value}) is no subclass of agentrl.Env")
    return found


def _install(entry: EntryPoint, missing: str) -> str:
    """Return the command that installs what an environment lacks: its extra, where its distribution has one."""
    owner = entry.dist.name if entry.dist else "agentrl"
    extras = entry.dist.metadata.get_all("Provides-Extra") or [] if entry.dist else [entry.name]
    if owner == "agentrl" or entry.name in extras:
        return f"pip install '{owner}[{entry.name}]'"
    return f"pip install {missing}"
