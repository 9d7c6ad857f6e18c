"""Playing the attempts of an evaluation."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator

from agentrl.env._session import EnvFactory
from agentrl.errors import ConfigError
from agentrl.evaluation._outcome import EvalSetting, Outcome
from agentrl.evaluation._players import Attempt, Player
from agentrl.evaluation._provenance import versions
from agentrl.evaluation._report import EvalReport
from agentrl.rollout._identity import stable_seed
from agentrl.rollout._limits import EpisodeLimits
from agentrl.trajectory import Status


async def evaluate(
    factory: EnvFactory,
    player: Player,
    *,
    split: str = "test",
    limit: int = 300,
    attempts: int = 1,
    seed: int = 0,
    limits: EpisodeLimits | None = None,
    in_flight: int = 48,
    retries: int = 1,
    setting: EvalSetting | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> EvalReport:
    """Play the first tasks of a split and report.

    Args:
        factory: The environment.
        player: Who acts: `EnginePlayer`, `ExpertPlayer` or `RandomPlayer`.
        split: Split the tasks come from.
        limit: Most tasks; the first ones of the split, so that two evaluations have the same.
        attempts: Attempts at each task.
        seed: Seed of all sampling; that of an attempt follows from it, the task's place and the attempt's number.
        limits: Limits of an episode; by default 16 turns or the environment's own number.
        in_flight: Episodes under way at the same time.
        retries: Times an attempt is started again after an infrastructure error.
        setting: What the report says of model and command; filled in as far as known by default.
        on_outcome: Called with each attempt as it ends, for a progress bar.

    Raises:
        ConfigError: The split is unknown or empty, or the expert was asked of an environment without one.
        TaskError: The environment's tasks are malformed.
    """
    limits = limits or default_limits(factory)
    count = _number_of_tasks(factory, split, limit)
    setting = setting or EvalSetting(
        env=factory.name,
        policy=type(player).__name__,
        policy_notes=player.notes,
        split=split,
        limit=count,
        attempts=attempts,
        seed=seed,
        limits=dataclasses.asdict(limits),
        versions=versions(),
        started=time.time(),
    )
    clock = time.monotonic()
    outcomes: dict[tuple[int, int], Outcome] = {}
    retried = 0
    queue = _attempts(factory, split, count, attempts, seed)

    async def work() -> None:
        nonlocal retried
        # All workers draw from one iterator: each has an attempt until there are none left.
        for attempt in queue:
            outcome = await player.play(factory, attempt, limits, 0)
            for retry in range(1, retries + 1):
                if outcome.status is not Status.ERROR:
                    break
                retried += 1
                outcome = await player.play(factory, attempt, limits, retry)
            outcomes[attempt.task_index, attempt.number] = outcome
            if on_outcome is not None:
                on_outcome(outcome)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(in_flight, count * attempts)):
                group.create_task(work())
    except ExceptionGroup as failures:
        # The same mistake in every worker is one mistake to the caller.
        raise failures.exceptions[0] from failures
    in_order = [outcomes[place] for place in sorted(outcomes)]
    return EvalReport.from_outcomes(in_order, setting, seconds=time.monotonic() - clock, retried=retried)


def default_limits(factory: EnvFactory, max_turns: int | None = None) -> EpisodeLimits:
    """Return the limits of an evaluated episode: turns as asked, or the environment's own number, or 16."""
    limits = EpisodeLimits()
    return dataclasses.replace(limits, max_turns=max_turns or factory.max_turns or limits.max_turns)


def _number_of_tasks(factory: EnvFactory, split: str, limit: int) -> int:
    splits = factory.tasks.splits()
    if split not in splits:
        raise ConfigError(f"environment {factory.name} has no split {split!r}; it has {', '.join(splits)}")
    size = factory.tasks.size(split)
    count = limit if size is None else min(limit, size)
    if count < 1:
        raise ConfigError(f"nothing to evaluate: split {split!r} of {factory.name} has {size} tasks, limit is {limit}")
    return count


def _attempts(factory: EnvFactory, split: str, count: int, attempts: int, seed: int) -> Iterator[Attempt]:
    for index in range(count):
        task = factory.tasks.task(split, index)
        for number in range(attempts):
            yield Attempt(task, index, number, stable_seed("evaluation", seed, index, number))
