"""From the class attribute `tasks` of an environment to a task source."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

from agentrl.env._env import Env
from agentrl.errors import AgentRLError, ConfigError
from agentrl.tasks import JsonlTasks, ListTasks, TaskSource


def task_source(instance: Env, name: str) -> TaskSource:
    """Return the tasks of an environment.

    Args:
        instance: An instance to ask where `tasks` is a method or a property.
        name: What to call the environment in messages.

    Raises:
        ConfigError: The class names no tasks, or what it names is no source of tasks.
    """
    env_class = type(instance)
    owner = next(base for base in env_class.__mro__ if "tasks" in vars(base))
    declared = vars(owner)["tasks"]
    if owner is Env:
        raise ConfigError(
            f'{name} has no tasks; set the class attribute, such as `tasks = "tasks.jsonl"` or a list of rows'
        )
    if isinstance(declared, classmethod | staticmethod | FunctionType):
        declared = _ask(name, lambda: instance.tasks())
    elif isinstance(declared, property | cached_property):
        declared = _ask(name, lambda: instance.tasks)
    if isinstance(declared, str | Path):
        return JsonlTasks(_folder(owner) / Path(declared).expanduser())
    if isinstance(declared, TaskSource):
        return declared
    if isinstance(declared, Iterable) and not isinstance(declared, Mapping | bytes):
        return ListTasks(declared, f"{name}.tasks")
    raise ConfigError(
        f"{name}: tasks gives {declared!r}; expected the path of a JSONL file, rows, Tasks or an object with splits(), "
        "size(split) and task(split, index)"
    )


def _ask(name: str, question: Callable[[], Any]) -> Any:
    try:
        return question()
    except AgentRLError:
        raise
    except Exception as error:
        raise ConfigError(f"{name}: finding its tasks raised {type(error).__name__}: {error}") from error


def _folder(owner: type[Env]) -> Path:
    """Return the folder of the file that defines a class; the working directory for one typed at a prompt."""
    try:
        return Path(inspect.getfile(owner)).absolute().parent
    except (TypeError, OSError):
        return Path.cwd()
