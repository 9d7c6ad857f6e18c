"""Checks on an environment class and its settings, before any episode."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from agentrl.env._env import Env, overrides
from agentrl.env._signature import BadArgumentsError, definition_site, read_signature
from agentrl.errors import AgentRLError, ConfigError


def check_class(env_class: type[Env], name: str) -> None:
    """Refuse what cannot be an environment.

    Raises:
        ConfigError: It is no subclass of Env, or has neither tools nor `act`.
    """
    if not isinstance(env_class, type) or not issubclass(env_class, Env):
        raise ConfigError(f"{name}: {env_class!r} is no subclass of agentrl.Env")
    if not env_class.tool_specs and not overrides(env_class, "act"):
        raise ConfigError(
            f"{name}: {env_class.__name__} gives the agent nothing to do; mark methods with @tool or define "
            "act(self, text)"
        )


def check_settings(env_class: type[Env], settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the settings coerced to the types that the constructor asks for.

    Raises:
        ConfigError: A setting is unknown, missing or wrong; the message names it and shows the signature.
    """
    constructor = env_class.__init__
    if constructor is object.__init__:
        if settings:
            raise ConfigError(f"{name} takes no settings, but was given {', '.join(map(repr, settings))}")
        return {}
    where = definition_site(constructor)
    signature = read_signature(constructor, name=f"{name}.__init__", where=where, require_annotations=False)
    takes_any = any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(constructor).parameters.values()
    )
    checked = {key: value for key, value in settings.items() if key in signature.names or not takes_any}
    try:
        bound = signature.bind(checked)
    except BadArgumentsError as error:
        raise ConfigError(f"{name}: {error}. Its settings are {signature.text} ({where})") from error
    return {key: bound.get(key, value) for key, value in settings.items()}


def probe(env_class: type[Env], settings: Mapping[str, Any], name: str) -> Env:
    """Return an instance that is only asked what it declares: never reset, never closed.

    Raises:
        ConfigError: The constructor refuses the settings, or a capability has the wrong type.
    """
    try:
        instance = env_class(**settings)
    except AgentRLError:
        raise
    except Exception as error:
        raise ConfigError(f"{name}: its constructor raised {type(error).__name__}: {error}") from error
    turns = instance.max_turns
    if turns is not None and (isinstance(turns, bool) or not isinstance(turns, int) or turns < 1):
        raise ConfigError(f"{name}: max_turns is {turns!r}; expected a positive integer or None")
    return instance
