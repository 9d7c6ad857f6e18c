"""The environment doubles play as they say: experts win, actions replay, trouble comes when asked for."""

from __future__ import annotations

import pytest

import agentrl
from agentrl import Env, EnvError, Message, StepResult
from agentrl.env import LocalEnv
from agentrl.testing import CountdownDouble, CounterToolsDouble

DOUBLES = [CountdownDouble, CounterToolsDouble]


async def play(
    factory: LocalEnv, actions: list[Message] | None = None
) -> tuple[list[Message], list[StepResult], float]:
    """Play the given actions, or the expert's."""
    task = factory.tasks.task("test", 3)
    session = factory.session()
    opening = await session.reset(task)
    assert opening.anchor is not None
    made: list[Message] = []
    results: list[StepResult] = []
    while not results or not results[-1].done:
        message = await session.demonstrate() if actions is None else actions[len(made)]
        made.append(message)
        results.append(await session.step(message))
    score = await session.finish()
    await session.close()
    assert score.reward is not None
    return made, results, score.reward


@pytest.mark.parametrize("double", DOUBLES)
async def test_the_expert_wins_and_its_actions_replay_to_the_same_states(double: type[Env]) -> None:
    factory = agentrl.load(double)
    assert factory.has_expert and factory.replayable
    actions, results, reward = await play(factory)
    assert reward >= 1.0 and all(result.valid for result in results)
    _, again, reward_again = await play(factory, actions)
    assert [(step.messages, step.anchor, step.rewards) for step in again] == [
        (step.messages, step.anchor, step.rewards) for step in results
    ]
    assert reward_again == reward


@pytest.mark.parametrize("double", DOUBLES)
async def test_trouble_comes_at_the_turn_asked_for(double: type[Env]) -> None:
    factory = agentrl.load(double, fail_at_turn=0)
    with pytest.raises(EnvError, match="asked to fail at turn 0"):
        await play(factory)


async def test_wrong_words_and_wrong_calls_are_the_agents() -> None:
    session = agentrl.load(CountdownDouble).session()
    await session.reset(agentrl.load(CountdownDouble).tasks.task("train", 0))
    assert not (await session.step(Message("assistant", "sideways"))).valid
    assert (await session.step(Message("assistant", "down"))).rewards == {"step": 0.1}
    await session.close()
    session = agentrl.load(CounterToolsDouble).session()
    await session.reset(agentrl.load(CounterToolsDouble).tasks.task("train", 0))
    call = agentrl.ToolCall("add", {"amount": 11}, id="1")
    assert (await session.step(Message("assistant", "", tool_calls=(call,)))).tool_calls[0].error == "tool_error"
    await session.close()


def test_training_and_test_seeds_are_apart() -> None:
    tasks = agentrl.load(CountdownDouble).tasks
    train = {tasks.task("train", index).seed for index in range(200)}
    test = {tasks.task("test", index).seed for index in range(100)}
    assert not train & test
