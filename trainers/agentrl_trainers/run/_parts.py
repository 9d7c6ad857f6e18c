"""The parts of a run, made from its configuration."""

from __future__ import annotations

import os
from pathlib import Path

from agentrl import load
from agentrl.bus import Bus
from agentrl.config import RunConfig
from agentrl.errors import ConfigError
from agentrl.policy import PolicyEngine, SamplingParams
from agentrl.policy.embedded import EmbeddedEngine
from agentrl.rendering import load_renderer
from agentrl.rollout import EnvironmentShare, EpisodeLimits, RolloutPlan, RolloutScheduler
from agentrl.store import TrajectoryStore
from agentrl_trainers.objectives import objective_of
from agentrl_trainers.run._credit import check_credit
from agentrl_trainers.run._ingest import publish


def open_environments(config: RunConfig) -> tuple[EnvironmentShare, ...]:
    """Open the environments of a run file and check that their splits exist.

    Raises:
        ConfigError: An environment, an argument or a split is unknown, or a name is used twice.
        TaskError: A task file is missing or malformed.
    """
    shares = []
    names: set[str] = set()
    for section in config.env:
        factory = load(section.id, **section.args)
        factory.name = section.name or section.id
        if factory.name in names:
            raise ConfigError(
                f"two [[env]] sections are called {factory.name!r}; give one of them another name by `name = ...`"
            )
        names.add(factory.name)
        splits = factory.tasks.splits()
        if section.split not in splits:
            raise ConfigError(
                f"environment {factory.name!r} has no split {section.split!r}; it has {', '.join(splits)}"
            )
        shares.append(EnvironmentShare(factory, section.split, section.weight))
    return tuple(shares)


def check_model(config: RunConfig, shares: tuple[EnvironmentShare, ...]) -> None:
    """Check what can be checked before anything heavy is loaded.

    Raises:
        ConfigError: The model folder is missing, or the credit method or the objective is unknown or cannot work.
    """
    if not (config.model / "config.json").is_file():
        raise ConfigError(
            f"model = {str(config.model)!r}: the folder holds no model in transformers form (no config.json). "
            "Make a small one with `agentrl init-model`, or point `model` at a downloaded one"
        )
    check_credit(config, shares)
    objective_of(config.trainer)


def start_engine(config: RunConfig, model: Path, version: int) -> EmbeddedEngine:
    """Load `model` into an embedded engine that samples with `version`."""
    cores = os.cpu_count() or 2
    return EmbeddedEngine.from_folder(
        model,
        slots=config.rollout.slots,
        max_context=config.rollout.max_context,
        version=version,
        threads=max(1, cores - (config.trainer.threads or max(1, cores // 2))),
    )


def make_scheduler(
    config: RunConfig,
    shares: tuple[EnvironmentShare, ...],
    engine: PolicyEngine,
    store: TrajectoryStore,
    bus: Bus,
    *,
    version: int,
    step: int,
) -> RolloutScheduler:
    """Return the scheduler of the run; what it finishes goes onto the bus."""
    rollout = config.rollout
    plan = RolloutPlan(
        run_id=config.output.name,
        seed=config.seed,
        groups_per_step=rollout.groups_per_step,
        group_size=rollout.group,
        staleness=rollout.staleness,
        in_flight=rollout.in_flight,
        retries=rollout.retries,
        total_groups=config.steps * rollout.groups_per_step,
    )
    return RolloutScheduler(
        plan,
        shares,
        engine,
        load_renderer(config.model, rollout.renderer),
        EpisodeLimits.of(rollout),
        SamplingParams(max_tokens=rollout.max_tokens, temperature=rollout.temperature),
        store,
        lambda trajectory: publish(bus, trajectory),
        version=version,
        step=step,
    )
