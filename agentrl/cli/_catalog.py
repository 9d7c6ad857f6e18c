"""Which commands there are, in one line each, without importing any of them."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cache
from importlib import metadata

import click

from agentrl.errors import ConfigError, PrerequisiteError

GROUP = "agentrl.commands"
"""Entry point group under which other packages add commands."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that can be loaded.

    Attributes:
        name: As typed.
        target: `module:attribute` of the click command.
        text: What it does, in one line.
        extra: Extra of the distribution that it needs, or "".
    """

    name: str
    target: str
    text: str
    extra: str = ""


BUILT_IN = (
    Entry("eval", "agentrl.cli._eval:evaluate_command", "Evaluate a policy, the expert or chance on an environment."),
    Entry("runs", "agentrl.cli._runs:runs", "List run folders and look into one."),
)
# Kept here so that `agentrl --help` need not import torch to say what trains.
KNOWN_TEXTS = {
    "train": "Train a policy by reinforcement learning, from a run file.",
    "sft": "Warm a policy up on episodes of the environment's expert.",
    "init-model": "Make a small model with its tokenizer, to start from nothing.",
    "credit": "Check credit methods against reference figures, or compare them on a run.",
    "quickstart": "From nothing to an agent that learns on BabyAI, in minutes.",
}
EXTRAS = dict.fromkeys(KNOWN_TEXTS, "train")
ORDER = ("quickstart", "train", "sft", "eval", "init-model", "runs", "credit")


@cache
def entries() -> dict[str, Entry]:
    """Return all commands by name: built-in ones, then those of installed packages."""
    found = {entry.name: entry for entry in BUILT_IN}
    for point in metadata.entry_points(group=GROUP):
        package = point.value.split(":")[0].split(".")[0]
        text = KNOWN_TEXTS.get(point.name, f"Added by the package {package}.")
        found.setdefault(point.name, Entry(point.name, point.value, text, EXTRAS.get(point.name, "")))
    rank = {name: place for place, name in enumerate(ORDER)}
    return {name: found[name] for name in sorted(found, key=lambda name: (rank.get(name, len(rank)), name))}


def load(entry: Entry) -> click.Command:
    """Import a command.

    Raises:
        PrerequisiteError: A package it needs is not installed.
        ConfigError: Its entry point names something else than a click command.
    """
    module_name, _, attribute = entry.target.partition(":")
    try:
        command = getattr(importlib.import_module(module_name), attribute, None)
    except ModuleNotFoundError as error:
        raise prerequisite(f"agentrl {entry.name}", error, entry.extra) from error
    if not isinstance(command, click.Command):
        raise ConfigError(f"command {entry.name!r}: {entry.target} is no click command; reinstall the package it is of")
    return command


def prerequisite(what: str, error: ModuleNotFoundError, extra: str) -> PrerequisiteError:
    """Return the error for a package that is not installed, with the command that installs it."""
    package = (error.name or str(error)).split(".")[0]
    wanted = f"'agentrl[{extra}]'" if extra else package
    return PrerequisiteError(f"{what} needs the package {package}, which is not installed", f"pip install {wanted}")


def debugging() -> bool:
    """Whether tracebacks are wanted for every command, by the environment variable AGENTRL_DEBUG."""
    return os.environ.get("AGENTRL_DEBUG", "") not in ("", "0")
