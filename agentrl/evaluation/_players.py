"""Who acts in an evaluation: a policy behind an engine, the environment's expert, or chance."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from agentrl.env._session import EnvFactory, Opening, Score
from agentrl.errors import EnvError
from agentrl.evaluation._outcome import Outcome, category_of, outcome_of, success_of
from agentrl.evaluation._random_actions import RandomActions
from agentrl.messages import Message
from agentrl.policy import PolicyEngine, SamplingParams
from agentrl.rendering import Renderer
from agentrl.rollout._ending import Ending
from agentrl.rollout._episode import run_episode
from agentrl.rollout._guard import GuardedSession
from agentrl.rollout._identity import EpisodeIdentity, stable_seed
from agentrl.rollout._limits import EpisodeLimits
from agentrl.rollout._progress import EpisodeProgress
from agentrl.rollout._shield import finish_despite_cancellation
from agentrl.tasks import Task
from agentrl.trajectory import Status, StopReason, Trajectory


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to make.

    Attributes:
        task: The task.
        task_index: Its index in the split.
        number: Which attempt at it, from 0.
        seed: Seed of all sampling in it; a retry has the same.
    """

    task: Task
    task_index: int
    number: int
    seed: int


class Player(Protocol):
    """Whoever acts. `notes` say how, in words, for the report."""

    notes: str

    async def play(self, factory: EnvFactory, attempt: Attempt, limits: EpisodeLimits, retry: int) -> Outcome:
        """Play one attempt to its end; failures of the infrastructure come back as outcomes of status `error`."""
        ...


class EnginePlayer:
    """A policy: tokens from an engine, messages by a renderer.

    Args:
        engine: Samples the actions.
        renderer: Messages to tokens and back.
        temperature: Sampling temperature; 0 is greedy.
        on_trajectory: Called with each finished trajectory, to keep them.
    """

    def __init__(
        self,
        engine: PolicyEngine,
        renderer: Renderer,
        temperature: float = 1.0,
        on_trajectory: Callable[[Trajectory], None] | None = None,
    ) -> None:
        self._engine, self._renderer = engine, renderer
        self._sampling = SamplingParams(max_tokens=1, temperature=temperature)
        self._on_trajectory = on_trajectory
        self.notes = "greedy" if temperature == 0 else f"temperature {temperature:g}"

    async def play(self, factory: EnvFactory, attempt: Attempt, limits: EpisodeLimits, retry: int) -> Outcome:
        """Play one attempt by the policy."""
        identity = EpisodeIdentity(
            group_id=f"eval-{factory.name}-{attempt.task.split}-{attempt.task_index}",
            group_index=attempt.task_index,
            member=attempt.number,
            seed=attempt.seed,
            retry=retry,
        )
        trajectory = await run_episode(
            identity, factory, attempt.task, self._engine, self._renderer, limits, self._sampling
        )
        if self._on_trajectory is not None:
            self._on_trajectory(trajectory)
        return outcome_of(trajectory)


class ExpertPlayer:
    """The environment's own expert: what a perfect policy would score."""

    notes = "the environment's expert"

    async def play(self, factory: EnvFactory, attempt: Attempt, limits: EpisodeLimits, retry: int) -> Outcome:
        """Play one attempt by the expert."""

        async def choose(session: GuardedSession, opening: Opening, turn: int) -> Message:
            return await session.demonstrate(turn)

        return await _play_scripted(factory, attempt, limits, choose)


class RandomPlayer:
    """Chance: each action uniformly from a list of actions or from the tools; what a policy has to beat."""

    def __init__(self, actions: RandomActions) -> None:
        self._actions = actions
        self.notes = actions.notes

    async def play(self, factory: EnvFactory, attempt: Attempt, limits: EpisodeLimits, retry: int) -> Outcome:
        """Play one attempt at random."""
        rng = random.Random(stable_seed(attempt.seed, "random player"))

        async def choose(session: GuardedSession, opening: Opening, turn: int) -> Message:
            return self._actions.draw(opening.tools, rng, turn)

        return await _play_scripted(factory, attempt, limits, choose)


Choose = Callable[[GuardedSession, Opening, int], Awaitable[Message]]


async def _play_scripted(factory: EnvFactory, attempt: Attempt, limits: EpisodeLimits, choose: Choose) -> Outcome:
    """Play one attempt with messages instead of tokens."""
    clock = time.monotonic()
    session = GuardedSession(factory, attempt.task, limits.turn_timeout, EpisodeProgress())
    record = _Record()
    score = Score()
    error: str | None = None
    deadline = asyncio.timeout(limits.episode_timeout)
    try:
        try:
            async with deadline:
                stop_reason = await _play_turns(
                    session, record, min(limits.max_turns, factory.max_turns or limits.max_turns), choose
                )
        except TimeoutError as late:
            if not deadline.expired():
                raise
            # Nothing but the environment is waited for here, and the call it was cut off in leaves it undefined.
            raise EnvError(
                f"environment {factory.name}, task {attempt.task.id}, episode of {record.turns} turns: not over within "
                f"episode_timeout = {limits.episode_timeout:g} s"
            ) from late
        score = await session.finish()
    except EnvError as failure:
        stop_reason, error = StopReason.ENV_ERROR, str(failure)
    finally:
        await finish_despite_cancellation(session.close())
    status = Ending(stop_reason).status
    parts: dict[str, float | None] = dict(score.parts)
    for name, value in record.rewards.items():
        parts[name] = (parts.get(name) or 0.0) + value
    failed = status is Status.ERROR or score.reward is None
    return Outcome(
        task_id=attempt.task.id,
        attempt=attempt.number,
        reward=None if failed else (score.reward or 0.0) + sum(record.rewards.values()),
        success=None if failed else success_of(score.metadata, score.parts),
        parts=parts,
        status=status,
        stop_reason=stop_reason,
        error=error or ("the environment reported its own failure" if status is Status.ERROR else None),
        turns=record.turns,
        invalid_turns=record.invalid_turns,
        tool_calls=record.tool_calls,
        tool_errors=record.tool_errors,
        seconds=time.monotonic() - clock,
        category=category_of(score.metadata),
    )


@dataclass
class _Record:
    rewards: dict[str, float] = dataclasses.field(default_factory=dict)
    turns: int = 0
    invalid_turns: int = 0
    tool_calls: int = 0
    tool_errors: int = 0


async def _play_turns(session: GuardedSession, record: _Record, max_turns: int, choose: Choose) -> StopReason:
    opening = await session.reset()
    for turn in range(max_turns):
        message = await choose(session, opening, turn)
        result = await session.step(message, turn)
        record.turns += 1
        record.invalid_turns += not result.valid
        record.tool_calls += len(result.tool_calls)
        record.tool_errors += sum(call.error is not None for call in result.tool_calls)
        for name, value in result.rewards.items():
            record.rewards[name] = record.rewards.get(name, 0.0) + value
        if result.done:
            return result.stop_reason
    return StopReason.MAX_TURNS
