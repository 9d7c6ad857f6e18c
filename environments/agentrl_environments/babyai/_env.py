"""BabyAI as an environment of AgentRL."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from agentrl.env import Env, Step, reward, tool
from agentrl.errors import ConfigError, EnvError
from agentrl.messages import ToolCall
from agentrl.tasks import SeededTasks, Task
from agentrl.trajectory import StopReason
from agentrl_environments.babyai._actions import Action, parse_action
from agentrl_environments.babyai._expert import Expert
from agentrl_environments.babyai._levels import find_level
from agentrl_environments.babyai._words import NO_EFFECT, describe, goal, system, unknown
from agentrl_environments.babyai._world import World

FIRST_SEEDS = {"train": 1_000_000, "valid": 10_000, "test": 0}
"""Seed of a split's first task. Training has no end, and the others end before they reach another's seeds."""
SIZES = {"train": None, "valid": 500, "test": 1_000}


class BabyAI(Env):
    """The levels of BabyAI, seen and played in words.

    An observation tells what the agent sees in the engine's 7x7 view, nearest first: "red ball 2 ahead 1 left wall 4
    ahead". The reward `success` is 1 when the mission is accomplished, else 0.

    Args:
        level: A level by short name ("GoToObj", "PickupLoc") or full id ("BabyAI-GoToObj-v0").
        actions: "text": the agent writes the action ("left", "pick up"); "tools": it calls `turn_left()`, `pick_up()`.
        admissible: Also list, in every observation, the actions that would have an effect.
        repeat_mission: Tell the mission in every observation, not only in the first.
        walls: "ahead": tell the steps to the wall ahead; "around": also to the walls left and right.
        max_turns: Actions of an episode; None = what the engine's authors allow (64 in one room).

    Raises:
        ConfigError: No such level, or a setting with an unknown value.
        PrerequisiteError: The package minigrid is not installed.
    """

    replayable = True

    def __init__(
        self,
        level: str = "GoToObj",
        actions: Literal["text", "tools"] = "text",
        admissible: bool = False,
        repeat_mission: bool = False,
        walls: Literal["ahead", "around"] = "ahead",
        max_turns: int | None = None,
    ) -> None:
        _one_of("actions", actions, ("text", "tools"))
        _one_of("walls", walls, ("ahead", "around"))
        if max_turns is not None and max_turns < 1:
            raise ConfigError(
                f"babyai: max_turns is {max_turns}; expected at least 1, or none for the engine's own limit"
            )
        self._level = find_level(level)
        self._by_tools = actions == "tools"
        self._admissible = admissible
        self._repeat_mission = repeat_mission
        self._around = walls == "around"
        self._limit = max_turns
        self._turns = 0
        self._success = False
        self._begun: tuple[World, Expert] | None = None
        self.system = system(by_tools=self._by_tools)

    def tasks(self) -> SeededTasks:
        """Return the tasks, one per seed: "train" without end, 500 of "valid", 1,000 of "test"; none in two splits."""
        level = self._level.name

        def task(split: str, index: int) -> Task:
            return Task(f"{level}-{split}-{index}", split, seed=FIRST_SEEDS[split] + index)

        return SeededTasks(task, SIZES, name="babyai")

    def reset(self, task: Task) -> str:
        """Make the world of the task's seed and return the mission and the first view."""
        world = World(self._level, task.seed)
        self._begun = world, Expert(world, task.seed)
        return f"{goal(world.mission)} {self._see()}"

    def act(self, text: str) -> Step:
        """Carry out an action written by the agent."""
        action = parse_action(text)
        return self._refuse() if action is None else self._do(action)

    def reply(self, text: str) -> Step:
        """Answer a message without tool calls: it costs a turn."""
        return self._refuse()

    def tool_names(self) -> Sequence[str]:
        """Return the six tools, or none where actions are text."""
        return tuple(action.tool for action in Action) if self._by_tools else ()

    @tool
    def turn_left(self) -> Step:
        """Turn left."""
        return self._do(Action.LEFT)

    @tool
    def turn_right(self) -> Step:
        """Turn right."""
        return self._do(Action.RIGHT)

    @tool
    def go_forward(self) -> Step:
        """Go one step ahead."""
        return self._do(Action.FORWARD)

    @tool
    def pick_up(self) -> Step:
        """Pick up the object one step ahead."""
        return self._do(Action.PICK_UP)

    @tool
    def drop(self) -> Step:
        """Drop what you carry one step ahead."""
        return self._do(Action.DROP)

    @tool
    def toggle(self) -> Step:
        """Open or close the door or box one step ahead."""
        return self._do(Action.TOGGLE)

    @reward
    def success(self) -> float:
        """Return 1 where the mission was accomplished, else 0."""
        return float(self._success)

    def anchor(self) -> str:
        """Return a hash of the true state."""
        return self._world.anchor()

    def demonstrate(self) -> str | ToolCall:
        """Return the next action of the engine's own bot.

        Raises:
            EnvError: The bot is lost: the mission has become impossible, or is beyond it.
        """
        action = self._expert.suggest()
        return ToolCall(action.tool, {}) if self._by_tools else action.word

    def metadata(self) -> Mapping[str, Any]:
        """Return the level, the mission and whether it was accomplished."""
        return {"level": self._level.name, "mission": self._world.mission, "success": self._success}

    @property
    def _world(self) -> World:
        return self._episode()[0]

    @property
    def _expert(self) -> Expert:
        return self._episode()[1]

    def _episode(self) -> tuple[World, Expert]:
        if self._begun is None:
            raise EnvError("babyai: the episode has not begun; call reset(task) first")
        return self._begun

    def _do(self, action: Action) -> Step:
        outcome = self._world.step(action)
        if outcome.done:
            self._success = outcome.success
            return Step(done=True)
        self._expert.observe(action)
        return self._answer("" if outcome.changed else NO_EFFECT)

    def _refuse(self) -> Step:
        return self._answer(unknown(by_tools=self._by_tools), valid=False)

    def _answer(self, remark: str, valid: bool = True) -> Step:
        self._turns += 1
        if self._turns >= (self._limit or self._world.step_limit):
            return Step(remark, done=True, valid=valid, stop_reason=StopReason.MAX_TURNS)
        mission = goal(self._world.mission) if self._repeat_mission else ""
        return Step(" ".join(part for part in (remark, mission, self._see()) if part), valid=valid)

    def _see(self) -> str:
        world = self._world
        return describe(
            world.view(),
            world.carrying,
            around=self._around,
            legal=world.legal() if self._admissible else (),
            by_tools=self._by_tools,
        )


def _one_of(setting: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"babyai: {setting} is {value!r}; expected {' or '.join(map(repr, known))}{hint}")
