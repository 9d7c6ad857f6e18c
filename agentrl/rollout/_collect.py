"""Trajectories of named tasks, for evaluation and one-off use: no trainer, no store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator

from agentrl.env._session import EnvFactory
from agentrl.policy._base import PolicyEngine, SamplingParams
from agentrl.rendering._base import Renderer
from agentrl.rollout._attempts import ErrorStreak, run_attempts
from agentrl.rollout._episode import TurnLog, run_episode
from agentrl.rollout._identity import EpisodeIdentity, stable_seed
from agentrl.rollout._limits import EpisodeLimits
from agentrl.trajectory import Trajectory


async def collect(
    factory: EnvFactory,
    split: str,
    indices: Iterable[int],
    engine: PolicyEngine,
    renderer: Renderer,
    limits: EpisodeLimits,
    sampling: SamplingParams,
    *,
    in_flight: int,
    attempts: int = 1,
    retries: int = 1,
    seed: int = 0,
    run_id: str = "collect",
    skip: Collection[tuple[int, int]] = (),
    error_patience: int = 0,
    log_turn: TurnLog | None = None,
) -> AsyncIterator[Trajectory]:
    """Play tasks and yield their trajectories as they finish; close the iterator (`aclosing`) to stop early.

    Each task is one group: `trajectory.member` is the attempt, `trajectory.metadata` the environment's. Ids and
    sampling seeds depend on (run_id, environment, split, task index, attempt) alone, so a second call can go on where a
    first one stopped.

    Args:
        factory: The environment.
        split: Split of its tasks.
        indices: Indices of the tasks, in the order they start.
        engine: Samples the actions.
        renderer: Messages to tokens and back.
        limits: What an episode may use.
        sampling: Temperature, top-k and top-p, as for `run_episode`.
        in_flight: Most episodes under way at the same time.
        attempts: Episodes of each task.
        retries: Times an episode is started again, from the same seed, after an infrastructure failure.
        seed: Seed of all sampling.
        run_id: Begins every id.
        skip: Pairs (task index, attempt) that are there already.
        error_patience: Infrastructure failures in a row at which to give up; 0 = report each and go on.
        log_turn: Makes each turn durable.

    Raises:
        EnvError, PolicyError: `error_patience` is used up.
        TaskError: A task index is beyond the split.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight must be at least 1, got {in_flight}")
    streak = ErrorStreak(factory.name, error_patience)
    # Bounded: a consumer that is slow holds up new episodes rather than filling memory.
    results: asyncio.Queue[Trajectory | BaseException | None] = asyncio.Queue(in_flight)

    def plan() -> Iterator[tuple[int, int, int]]:
        for place, index in enumerate(indices):
            for member in range(attempts):
                if (index, member) not in skip:
                    yield place, index, member

    todo = plan()

    async def play(place: int, index: int, member: int) -> Trajectory:
        task = factory.tasks.task(split, index)
        identity = EpisodeIdentity(
            group_id=f"{run_id}-{factory.name}-{split}-{index}",
            group_index=place,
            member=member,
            seed=stable_seed(seed, factory.name, split, index, member),
        )
        return await run_attempts(
            identity,
            lambda each: run_episode(each, factory, task, engine, renderer, limits, sampling, log_turn=log_turn),
            retries=retries,
            streak=streak,
        )

    async def work() -> None:
        try:
            for item in todo:
                await results.put(await play(*item))
        except Exception as error:
            # The consumer raises it: it is the owner of this worker.
            await results.put(error)
        else:
            await results.put(None)

    workers = [asyncio.create_task(work()) for _ in range(in_flight)]
    try:
        running = len(workers)
        while running:
            result = await results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                running -= 1
            else:
                yield result
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
