"""What `agentrl eval` is to do: options, run file and defaults brought together, and the policy found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentrl.cli._run_folder import is_run, newest_checkpoint
from agentrl.config import RunConfig, load_run
from agentrl.errors import ConfigError

if TYPE_CHECKING:
    from agentrl.rendering import RendererKind

SCRIPTED = ("oracle", "random")


DEFAULT_CONTEXT = 1024
"""Tokens of a conversation where neither an option nor a run file says how many."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line asks for; None = not said."""

    policy: str | None
    split: str | None
    limit: int | None
    attempts: int
    seed: int | None
    args: Mapping[str, Any]
    temperature: float | None
    max_turns: int | None
    max_tokens: int | None
    max_context: int | None
    renderer: str | None
    in_flight: int | None
    slots: int | None
    entry: int


@dataclass(frozen=True, slots=True)
class Plan:
    """An evaluation with everything decided.

    Attributes:
        env: The environment as `agentrl.load` takes it.
        args: Its settings.
        policy: "oracle", "random" or the folder of a model.
        max_turns: Actions of an episode; None = the environment's own number, or 16.
    """

    env: str
    args: Mapping[str, Any]
    policy: str | Path
    split: str
    limit: int
    attempts: int
    seed: int
    temperature: float
    max_turns: int | None
    max_tokens: int
    max_context: int
    renderer: RendererKind
    in_flight: int
    slots: int


def plan_evaluation(env: str, choices: Choices) -> Plan:
    """Bring options, run file and defaults together.

    Raises:
        ConfigError: The run file is wrong, no policy is given, or its folder holds no model.
    """
    config = load_run(env) if env.endswith(".toml") else None
    section = _entry(env, config, choices.entry)
    rollout, evaluation = (config.rollout, config.eval) if config else (None, None)
    policy = _policy(env, config, choices.policy)
    return Plan(
        env=section.id if section else env,
        args={**(section.args if section else {}), **choices.args},
        policy=policy,
        split=_first(choices.split, evaluation and evaluation.split, "test"),
        limit=_first(choices.limit, evaluation and evaluation.episodes, 300),
        attempts=choices.attempts,
        seed=_first(choices.seed, config and config.seed, 0),
        temperature=_first(choices.temperature, evaluation and evaluation.temperature, 1.0),
        max_turns=_first(choices.max_turns, rollout and rollout.max_turns, None),
        max_tokens=_first(choices.max_tokens, rollout and rollout.max_tokens, 64),
        max_context=_first(choices.max_context, rollout and rollout.max_context, _context(policy)),
        renderer=_first(choices.renderer, rollout and rollout.renderer, "auto"),
        in_flight=_first(choices.in_flight, rollout and rollout.in_flight, 64),
        slots=_first(choices.slots, rollout and rollout.slots, 48),
    )


def _context(policy: str | Path) -> int:
    """Return the context nobody has stated: 1024 tokens, or as many as the model has positions for."""
    if not isinstance(policy, Path):
        return DEFAULT_CONTEXT
    try:
        positions = json.loads((policy / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{policy / 'config.json'} cannot be read: {error}") from error
    return min(DEFAULT_CONTEXT, positions) if isinstance(positions, int) else DEFAULT_CONTEXT


def model_folder(folder: Path) -> Path:
    """Return the folder with the weights: the folder itself, its `model`, or those of a run's newest checkpoint.

    Raises:
        ConfigError: None of them holds a model.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"--policy {folder}: there is no such folder; expected a model, checkpoint or run folder, oracle or random"
        )
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    if is_run(folder):
        checkpoint = newest_checkpoint(folder)
        if checkpoint is None:
            raise ConfigError(f"--policy {folder}: this run has no checkpoint yet")
        return model_folder(checkpoint)
    raise ConfigError(f"--policy {folder} holds no model: no config.json in it or in its folder model")


def _entry(env: str, config: RunConfig | None, number: int) -> Any:
    if config is None:
        return None
    if number >= len(config.env):
        raise ConfigError(f"--entry {number}: {env} has {len(config.env)} [[env]] sections, numbered from 0")
    return config.env[number]


def _policy(env: str, config: RunConfig | None, policy: str | None) -> str | Path:
    if policy in SCRIPTED:
        return policy
    if policy is not None:
        return model_folder(Path(policy))
    if config is None:
        raise ConfigError(f"no policy given; say who acts: agentrl eval {env} --policy FOLDER, oracle or random")
    if is_run(config.output) and (checkpoint := newest_checkpoint(config.output)) is not None:
        return model_folder(checkpoint)
    return model_folder(config.model)


def _first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next((value for value in values if value is not None), None)
