"""Levels by name: the engine's registry, read once."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from agentrl.errors import ConfigError, PrerequisiteError


@dataclass(frozen=True)
class Level:
    """A level of the engine.

    Attributes:
        name: Short name, e.g. "GoToObj".
        id: The engine's id, e.g. "BabyAI-GoToObj-v0".
        engine: Class of the engine, with images switched off.
        settings: Keyword arguments of the class that make it this level.
    """

    name: str
    id: str
    engine: type[Any]
    settings: dict[str, Any]


class _WithoutImages:
    """Mixed into the engine's classes: its image is never looked at and costs fifteen times a step."""

    def gen_obs(self) -> dict[str, Any]:
        """Return no observation."""
        return {}


@cache
def _ids() -> dict[str, str]:
    """Return the engine's ids by short name; of several versions of a level, the newest."""
    try:
        import minigrid  # noqa: F401 - registers the levels
        from gymnasium.envs.registration import registry
        from minigrid.envs.babyai.core import roomgrid_level
    except ImportError as error:
        raise PrerequisiteError(
            f"the babyai environment needs the package minigrid ({error})", "pip install 'agentrl[babyai]'"
        ) from error
    # The generator prints every draw that it rejects. Its module gets a `print` of its own, since redirecting
    # stdout would silence the whole process, other threads too.
    vars(roomgrid_level)["print"] = lambda *_: None
    specs = sorted((spec for spec in registry.values() if spec.namespace is None), key=lambda spec: spec.version or 0)
    return {spec.name.removeprefix("BabyAI-"): spec.id for spec in specs if spec.name.startswith("BabyAI-")}


@cache
def find_level(name: str) -> Level:
    """Return a level by short name ("GoToObj") or full id ("BabyAI-GoToObj-v0").

    Raises:
        ConfigError: There is no such level; the message names the nearest ones.
        PrerequisiteError: The engine is not installed.
    """
    ids = _ids()
    short = {id_: short for short, id_ in ids.items()}.get(name, name)
    if short not in ids:
        lower = {known.lower(): known for known in ids}
        wanted = name.removeprefix("BabyAI-").lower()
        near = [lower[match] for match in difflib.get_close_matches(wanted, lower, n=3, cutoff=0.5)]
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(sorted(ids))}"
        raise ConfigError(f"babyai has no level {name!r}; {hint}")

    from gymnasium import spec

    found = spec(ids[short])
    module, _, class_name = str(found.entry_point).partition(":")
    engine = getattr(importlib.import_module(module), class_name)
    quiet = type(f"{class_name}WithoutImages", (_WithoutImages, engine), {})
    return Level(short, ids[short], quiet, dict(found.kwargs))


def level_names() -> tuple[str, ...]:
    """Return the short names of all levels, sorted."""
    return tuple(sorted(_ids()))
