"""Where random actions come from: the expert's distinct actions where there is an expert, else the tools' schemas."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any

from agentrl.env._session import EnvFactory
from agentrl.errors import ConfigError, EnvError
from agentrl.messages import Message, ToolCall
from agentrl.rollout._guard import GuardedSession
from agentrl.rollout._limits import EpisodeLimits
from agentrl.rollout._progress import EpisodeProgress
from agentrl.rollout._shield import finish_despite_cancellation
from agentrl.tasks import Task

SURVEYED_EPISODES = 20
"""Expert episodes whose distinct actions are the choice."""


class RandomActions:
    """Uniform draws from a list of messages, or from the tools where the list is empty.

    Args:
        choices: Messages to draw from.
        notes: Where they come from, in words.
    """

    def __init__(self, choices: Sequence[Message], notes: str) -> None:
        self._choices = tuple(choices)
        self.notes = notes

    def draw(self, tools: Sequence[Mapping[str, Any]], rng: random.Random, turn: int) -> Message:
        """Return a random action.

        Raises:
            EnvError: There is nothing to draw from in this episode.
        """
        if self._choices:
            chosen = rng.choice(self._choices)
            calls = tuple(
                dataclasses.replace(call, id=f"random-{turn}-{index}") for index, call in enumerate(chosen.tool_calls)
            )
            return dataclasses.replace(chosen, tool_calls=calls)
        if not tools:
            raise EnvError("this episode has no tools, and the environment no expert: there is nothing to draw from")
        function = rng.choice(tools)["function"]
        arguments = _arguments(function.get("parameters", {}), rng)
        return Message("assistant", "", tool_calls=(ToolCall(function["name"], arguments, id=f"random-{turn}"),))


async def survey_actions(factory: EnvFactory, split: str, limits: EpisodeLimits) -> RandomActions:
    """Return what a random player draws from in an environment.

    With an expert: the distinct actions it takes in the first 20 tasks of the split. Without: a tool by chance, with
    arguments by its schema.

    Raises:
        ConfigError: The expert fails on every one of these tasks.
    """
    if not factory.has_expert:
        return RandomActions((), "uniform over the tools, arguments by their schemas")
    size = factory.tasks.size(split)
    count = SURVEYED_EPISODES if size is None else min(size, SURVEYED_EPISODES)
    found: dict[str, Message] = {}
    failures: list[str] = []
    for index in range(count):
        try:
            for message in await _expert_actions(factory, factory.tasks.task(split, index), limits):
                calls = [(call.name, call.arguments) for call in message.tool_calls]
                found.setdefault(repr((message.content, calls)), message)
        except EnvError as error:
            failures.append(str(error))
    if not found:
        cause = failures[0] if failures else f"the split {split} is empty"
        raise ConfigError(f"no random actions for {factory.name}: its expert took none in {count} tasks: {cause}")
    return RandomActions(tuple(found.values()), f"uniform over the {len(found)} actions the expert takes")


async def _expert_actions(factory: EnvFactory, task: Task, limits: EpisodeLimits) -> list[Message]:
    session = GuardedSession(factory, task, limits.turn_timeout, EpisodeProgress())
    actions: list[Message] = []
    try:
        async with asyncio.timeout(limits.episode_timeout):
            await session.reset()
            for turn in range(min(limits.max_turns, factory.max_turns or limits.max_turns)):
                message = await session.demonstrate(turn)
                actions.append(message)
                if (await session.step(message, turn)).done:
                    break
    except TimeoutError as error:
        raise EnvError(f"task {task.id}: the expert took longer than {limits.episode_timeout:g} s") from error
    finally:
        await finish_despite_cancellation(session.close())
    return actions


def _arguments(schema: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return random arguments for the required properties of a JSON Schema, and for each other one by a coin."""
    required = set(schema.get("required", ()))
    properties: Mapping[str, Any] = schema.get("properties", {})
    return {name: _value(properties[name], rng) for name in properties if name in required or rng.random() < 0.5}


def _value(schema: Mapping[str, Any], rng: random.Random) -> Any:
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return _value(rng.choice(options), rng)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    low, high = schema.get("minimum", 0), schema.get("maximum", 9)
    match schema.get("type"):
        case "boolean":
            return rng.random() < 0.5
        case "integer":
            return rng.randint(int(low), max(int(low), int(high)))
        case "number":
            return rng.uniform(low, max(low, high))
        case "array":
            return [_value(schema.get("items", {}), rng) for _ in range(rng.randint(0, 3))]
        case "object":
            return _arguments(schema, rng)
        case "null":
            return None
    return rng.choice(("", "a", "yes", "no", "1"))
