"""Expert episodes for the warm start: what a policy would have seen and said had it been the expert."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Iterable

import numpy as np

from agentrl.env._session import EnvFactory, Score
from agentrl.errors import EnvError
from agentrl.messages import Message
from agentrl.policy._base import FinishReason, Generation
from agentrl.rendering._base import Renderer
from agentrl.rollout._clock import monotonic
from agentrl.rollout._context import append_answer, append_prompt
from agentrl.rollout._ending import Ending, ending_by_environment, finished_trajectory
from agentrl.rollout._guard import GuardedSession
from agentrl.rollout._identity import EpisodeIdentity, group_id, stable_seed
from agentrl.rollout._limits import EpisodeLimits
from agentrl.rollout._progress import EpisodeProgress
from agentrl.rollout._recorder import EpisodeRecorder
from agentrl.rollout._shield import finish_despite_cancellation
from agentrl.tasks import Task
from agentrl.trajectory import Status, StopReason, Timing, Trajectory


class ActionPool:
    """Actions to disturb an expert with: given candidates, and every distinct action an expert was seen to take.

    Share one pool over the episodes of a warm start, so that short episodes are disturbed with more than their own
    actions. The order is that of arrival: episodes run one after another give the same draws in every process.
    """

    def __init__(self, candidates: Iterable[Message] = ()) -> None:
        self._actions: dict[str, Message] = {}
        for message in candidates:
            self.add(message)

    def __len__(self) -> int:
        return len(self._actions)

    def add(self, message: Message) -> None:
        """Keep an action; one that is already known changes nothing."""
        calls = [(call.name, call.arguments) for call in message.tool_calls]
        self._actions.setdefault(repr((message.content, calls)), message)

    def draw(self, rng: random.Random) -> Message | None:
        """Return any of the actions, or None where none is known yet."""
        return rng.choice(list(self._actions.values())) if self._actions else None


async def demonstrate_episode(
    factory: EnvFactory,
    task: Task,
    renderer: Renderer,
    limits: EpisodeLimits,
    *,
    seed: int = 0,
    noise: float = 0.0,
    random_action: ActionPool | None = None,
) -> Trajectory:
    """Play one episode by the environment's expert.

    The expert's messages become action spans with the tokens `renderer.demonstrate` gives. Their log-probs are 0 and
    their versions -1: no policy sampled them, and nothing but imitation may train on them. A disturbed turn, an action
    drawn at random that the expert must recover from, has its tokens in an *observation* span and is no turn of the
    trajectory: it gets no loss.

    Args:
        factory: Opens the session; its sessions must have an expert.
        task: The task to play.
        renderer: Messages to tokens.
        limits: Turns (disturbed ones included), context and time; `max_tokens_per_turn` does not bind an expert.
        seed: Seed of the disturbances.
        noise: Probability in [0, 1) that a turn is disturbed.
        random_action: Where disturbances are drawn from; it learns the expert's actions. None = a pool of its own.

    Returns:
        The trajectory; `status=error` where the expert or the environment failed.
    """
    if not 0.0 <= noise < 1.0:
        raise ValueError(f"noise is a probability in [0, 1), got {noise}")
    started, clock = time.time(), monotonic()
    identity = EpisodeIdentity(group_id(f"expert-{factory.name}-{task.split}-{task.id}", 0), 0, 0, seed)
    recorder = EpisodeRecorder(identity, factory.name, task, started)
    session = GuardedSession(factory, task, limits.turn_timeout, EpisodeProgress())
    pool = ActionPool() if random_action is None else random_action
    rng = random.Random(stable_seed(seed, task.split, task.id))
    deadline = asyncio.timeout(limits.episode_timeout)
    score = Score()
    try:
        try:
            async with deadline:
                ending = await _play(session, recorder, renderer, pool, rng, noise, limits, factory.max_turns)
            if ending.status is not Status.ERROR:
                score = await session.finish()
        except TimeoutError:
            if not deadline.expired():
                raise
            ending = Ending(StopReason.TIMEOUT)
        except EnvError as error:
            ending = Ending(StopReason.ENV_ERROR, str(error))
    finally:
        await finish_despite_cancellation(session.close())
    return finished_trajectory(recorder, ending, score, monotonic() - clock)


async def _play(
    session: GuardedSession,
    recorder: EpisodeRecorder,
    renderer: Renderer,
    pool: ActionPool,
    rng: random.Random,
    noise: float,
    limits: EpisodeLimits,
    own_limit: int | None,
) -> Ending:
    opening = await session.reset()
    messages = list(opening.messages)
    anchor = opening.anchor
    if not append_prompt(recorder, renderer.start(messages, opening.tools), limits.max_context):
        return Ending(StopReason.CONTEXT_OVERFLOW)
    max_turns = min(limits.max_turns, own_limit or limits.max_turns)
    for turn in range(max_turns):
        started, clock = time.time(), monotonic()
        message = pool.draw(rng) if rng.random() < noise else None
        disturbed = message is not None
        if message is None:
            message = await session.demonstrate(turn)
            pool.add(message)
        else:
            # The call ids of an action said before are taken already in this conversation.
            calls = tuple(
                dataclasses.replace(call, id=f"disturbed-{turn}-{index}")
                for index, call in enumerate(message.tool_calls)
            )
            message = dataclasses.replace(message, tool_calls=calls)
        tokens = renderer.demonstrate(message)
        if recorder.context_length + len(tokens) > limits.max_context:
            return Ending(StopReason.CONTEXT_OVERFLOW)
        answered = monotonic()
        if disturbed:
            recorder.observe(tokens)
        else:
            unsampled = Generation(
                tokens=tokens,
                logprobs=np.zeros(len(tokens), np.float32),
                versions=np.full(len(tokens), -1, np.int32),
                finish_reason=FinishReason.STOP,
            )
            timing = Timing(started=started, generate=answered - clock)
            recorder.act(unsampled, text=renderer.parse(tokens).text, anchor=anchor, timing=timing)
        result = await session.step(message, turn)
        anchor = result.anchor
        if disturbed:
            recorder.disturbed_reward += sum(result.rewards.values())
        else:
            recorder.answer(result, monotonic() - answered)
        if result.done:
            return ending_by_environment(result.stop_reason)
        if turn + 1 == max_turns:
            break
        messages += [message, *result.messages]
        if not append_answer(recorder, renderer, tokens, result.messages, messages, opening.tools, limits.max_context):
            return Ending(StopReason.CONTEXT_OVERFLOW)
    return Ending(StopReason.MAX_TURNS)
