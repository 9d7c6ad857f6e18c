"""Scoring true answers by a policy engine: before the first turn and after every observation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrl.errors import PolicyError
from agentrl.policy import PolicyEngine
from agentrl.trajectory import Trajectory, Turn
from agentrl_trainers.credit.information._answer import PREFIX, SUFFIX, AnswerTokens, OffsetEncoder, answer_tokens
from agentrl_trainers.credit.information._belief import mean_logprob


async def information_gain_scores(
    engine: PolicyEngine,
    encode: OffsetEncoder,
    trajectories: Sequence[Trajectory],
    answers: Sequence[str],
    *,
    prefix: str = PREFIX,
    suffix: str = SUFFIX,
    deadline: float = 600.0,
    attempts: int = 3,
    concurrency: int = 512,
) -> list[npt.NDArray[np.float64]]:
    """Return the policy's mean log-prob of the true answer before each turn of each trajectory.

    The very tokens that the policy saw before a turn are followed by prefix and answer and scored by teacher forcing.
    Those tokens go to `score` alone: no true answer ever enters a context that is generated from. All turns of all
    trajectories are under way together, so that the engine batches them and reuses prefixes.

    A trajectory's scores are compared with each other, so they must come from the same weights: where new weights come
    in between, it is scored again. Use the weights that generated, or the nearest there are.

    Args:
        engine: Scores.
        encode: Tokens with character offsets, from `offset_encoder` of the engine's model.
        trajectories: Finished; their action spans are left as they are.
        answers: True answer of each; of several alternatives, the first.
        prefix: Text between a context and the answer.
        suffix: Text after the answer.
        deadline: Seconds for everything.
        attempts: Times a trajectory is scored if new weights keep coming in between.
        concurrency: Requests under way at the same time; bounds the memory of copied contexts.

    Returns:
        One array per trajectory [its turns]; nan where context and answer are longer than the engine's context, and for
        a trajectory that was never scored by one version of the weights.

    Raises:
        PolicyError: The engine failed, or did not answer in time.
        TaskError: An answer is empty.
        ValueError: Not one answer per trajectory.
    """
    if len(trajectories) != len(answers):
        raise ValueError(f"{len(answers)} answers for {len(trajectories)} trajectories")
    tokens = {answer: answer_tokens(encode, answer, prefix=prefix, suffix=suffix) for answer in dict.fromkeys(answers)}
    places = asyncio.Semaphore(concurrency)
    try:
        async with asyncio.timeout(deadline), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_score_trajectory(engine, trajectory, tokens[answer], places, attempts))
                for trajectory, answer in zip(trajectories, answers, strict=True)
            ]
    except TimeoutError as error:
        raise PolicyError(
            f"scoring the answers of {len(trajectories)} trajectories took longer than {deadline:g} s: the engine is "
            "stuck or overloaded; raise the deadline or score fewer at once"
        ) from error
    except ExceptionGroup as failures:
        raise _first(failures) from failures
    return [task.result() for task in tasks]


async def _score_trajectory(
    engine: PolicyEngine, trajectory: Trajectory, answer: AnswerTokens, places: asyncio.Semaphore, attempts: int
) -> npt.NDArray[np.float64]:
    for _ in range(attempts):
        version = engine.version
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_score_turn(engine, trajectory, turn, answer, places)) for turn in trajectory.turns
            ]
        if engine.version == version:
            return np.array([task.result() for task in tasks], dtype=np.float64)
    return np.full(len(trajectory.turns), np.nan)


async def _score_turn(
    engine: PolicyEngine, trajectory: Trajectory, turn: Turn, answer: AnswerTokens, places: asyncio.Semaphore
) -> float:
    before = trajectory.segments[turn.segment].spans[: turn.action]
    length = sum(len(span) for span in before)
    if length + len(answer.tokens) > engine.max_context or length + answer.start < 1:
        return np.nan
    async with places:
        sequence = np.concatenate([*(span.tokens for span in before), answer.tokens])
        return mean_logprob(await engine.score(sequence, length + answer.start))


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
