"""The agent loop: one coroutine plays one episode and returns its token-exact trajectory."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable

from agentrl.env._session import EnvFactory, Score
from agentrl.errors import EnvError, PolicyError
from agentrl.policy._base import PolicyEngine, SamplingParams
from agentrl.rendering._base import Renderer
from agentrl.rollout._clock import monotonic
from agentrl.rollout._context import append_answer, append_prompt
from agentrl.rollout._decisions import decode_priority
from agentrl.rollout._ending import Ending, ending_by_environment, finished_trajectory
from agentrl.rollout._generation import TurnGeneration, generate_turn
from agentrl.rollout._guard import CLOSE_TIMEOUT, GuardedSession
from agentrl.rollout._identity import EpisodeIdentity
from agentrl.rollout._limits import EpisodeLimits
from agentrl.rollout._progress import EpisodeProgress, Phase
from agentrl.rollout._recorder import EpisodeRecorder
from agentrl.rollout._shield import finish_despite_cancellation
from agentrl.store._base import TurnRecord
from agentrl.tasks import Task
from agentrl.trajectory import Status, StopReason, Timing, Trajectory

TurnLog = Callable[[TurnRecord], Awaitable[None]]
"""Makes a turn durable; awaited before the episode goes on."""

logger = logging.getLogger("agentrl.rollout")


async def run_episode(
    identity: EpisodeIdentity,
    factory: EnvFactory,
    task: Task,
    engine: PolicyEngine,
    renderer: Renderer,
    limits: EpisodeLimits,
    sampling: SamplingParams,
    *,
    log_turn: TurnLog | None = None,
    progress: EpisodeProgress | None = None,
) -> Trajectory:
    """Play one episode and return its trajectory, whatever happens to it.

    A failing environment or engine gives `status=error` without a reward; a limit gives `status=truncated`. The
    session is closed and the engine's cache released in every case, cancellation included.

    Args:
        identity: Which episode this is: ids, seed, place in the order of admission.
        factory: Opens the session.
        task: The task to play.
        engine: Samples the actions.
        renderer: Messages to tokens and back.
        limits: What the episode may use. The environment's own `max_turns` and the engine's `max_context` bind too.
        sampling: Temperature, top-k and top-p. Its max_tokens, stop tokens and seed are replaced turn by turn, from
            `limits`, `renderer` and `identity`.
        log_turn: Makes each turn durable before the next goes on.
        progress: Shows what the episode waits for.

    Raises:
        StoreError: The turn log failed.
        ConfigError: The environment cannot work as it is configured.
    """
    loop = _AgentLoop(identity, factory, task, engine, renderer, limits, sampling, log_turn, progress)
    return await loop.run()


class _AgentLoop:
    def __init__(
        self,
        identity: EpisodeIdentity,
        factory: EnvFactory,
        task: Task,
        engine: PolicyEngine,
        renderer: Renderer,
        limits: EpisodeLimits,
        sampling: SamplingParams,
        log_turn: TurnLog | None,
        progress: EpisodeProgress | None,
    ) -> None:
        self._identity = identity
        self._engine = engine
        self._renderer = renderer
        self._limits = limits
        self._sampling = dataclasses.replace(sampling, stop_token_ids=renderer.stop_token_ids)
        self._log_turn = log_turn
        self._progress = progress or EpisodeProgress()
        self._max_turns = min(limits.max_turns, factory.max_turns or limits.max_turns)
        self._max_context = min(limits.max_context, engine.max_context)
        self._session = GuardedSession(factory, task, limits.turn_timeout, self._progress)
        # The wall clock names the moment, the monotonic clock measures: a clock set back gives no negative durations.
        self._started = time.time()
        self._started_monotonic = monotonic()
        self._recorder = EpisodeRecorder(identity, factory.name, task, self._started)

    async def run(self) -> Trajectory:
        score = Score()
        try:
            ending = await self._play_within_time()
            if ending.status is not Status.ERROR:
                try:
                    score = await self._session.finish()
                except EnvError as error:
                    ending = Ending(StopReason.ENV_ERROR, str(error))
        finally:
            await finish_despite_cancellation(self._clean_up())
        return finished_trajectory(self._recorder, ending, score, monotonic() - self._started_monotonic)

    async def _play_within_time(self) -> Ending:
        deadline = asyncio.timeout(self._limits.episode_timeout)
        try:
            async with deadline:
                return await self._play()
        except TimeoutError:
            if not deadline.expired():
                raise
            return Ending(StopReason.TIMEOUT)
        except EnvError as error:
            return Ending(StopReason.ENV_ERROR, str(error))
        except PolicyError as error:
            return Ending(StopReason.ENGINE_ERROR, f"policy engine: {error}")

    async def _play(self) -> Ending:
        recorder, renderer = self._recorder, self._renderer
        opening = await self._session.reset()
        messages = list(opening.messages)
        anchor = opening.anchor
        if not append_prompt(recorder, renderer.start(messages, opening.tools), self._max_context):
            return Ending(StopReason.CONTEXT_OVERFLOW)
        for turn in range(self._max_turns):
            started, clock = time.time(), monotonic()
            generated = await self._generate(turn)
            action = generated.generation.tokens
            if not len(action):
                return Ending(StopReason.CONTEXT_OVERFLOW)
            answered = monotonic()
            parsed = renderer.parse(action)
            timing = Timing(started=started, generate=answered - clock, interruptions=generated.interruptions)
            recorder.act(generated.generation, text=parsed.text, anchor=anchor, timing=timing)
            result = await self._session.step(parsed.message, turn)
            recorder.answer(result, monotonic() - answered)
            anchor = result.anchor
            fits = True
            if not result.done and turn + 1 < self._max_turns:
                messages += [parsed.message, *result.messages]
                fits = append_answer(
                    recorder, renderer, action, result.messages, messages, opening.tools, self._max_context
                )
            await self._log()
            if result.done:
                return ending_by_environment(result.stop_reason)
            if not fits:
                return Ending(StopReason.CONTEXT_OVERFLOW)
        return Ending(StopReason.MAX_TURNS)

    async def _generate(self, turn: int) -> TurnGeneration:
        self._progress.enter(Phase.ENGINE, f"tokens of turn {turn}")
        room = self._max_context - self._recorder.context_length
        sampling = dataclasses.replace(
            self._sampling,
            max_tokens=min(self._limits.max_tokens_per_turn, room),
            seed=self._identity.turn_seed(turn),
        )
        generated = await generate_turn(
            self._engine,
            self._recorder.context(),
            sampling,
            self._identity.trajectory_id,
            decode_priority(self._identity.group_index, turn, self._max_turns),
        )
        self._progress.sampled_tokens += len(generated.generation.tokens)
        self._progress.interruptions += generated.interruptions
        return generated

    async def _log(self) -> None:
        self._progress.turns += 1
        record = self._recorder.turn_record()
        if self._log_turn is not None:
            self._progress.enter(Phase.STORE, f"turn {record.index} to be durable")
            await self._log_turn(record)

    async def _clean_up(self) -> None:
        await self._session.close()
        self._progress.enter(Phase.CLOSING, "engine to release the cache")
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._engine.release(self._identity.trajectory_id)
        except (PolicyError, TimeoutError) as error:
            logger.warning("the engine did not release %s: %s", self._identity.trajectory_id, error or "timed out")
