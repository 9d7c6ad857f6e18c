"""Tiny environments for tests: doubles, not worlds. Both have experts and anchors, and can be replayed."""

from __future__ import annotations

import time

from agentrl.env import Env, Step, reward, tool
from agentrl.errors import ToolError
from agentrl.messages import ToolCall
from agentrl.tasks import SeededTasks, Task

_TEST_SEEDS = 1_000_000
"""First seed of the test split; training seeds stay below it."""


def _task(split: str, index: int) -> Task:
    seed = index + (_TEST_SEEDS if split == "test" else 0)
    return Task(id=f"{split}-{index}", split=split, seed=seed, data={"start": 1 + seed % 4})


class _Double(Env):
    """What both doubles share: a number to bring to zero, and trouble on request.

    Args:
        seconds_per_turn: Time each turn takes, on the episode's thread.
        fail_at_turn: Turn, from 0, at which the environment itself fails, or None.
    """

    replayable = True

    def __init__(self, seconds_per_turn: float = 0.0, fail_at_turn: int | None = None) -> None:
        self.seconds_per_turn = seconds_per_turn
        self.fail_at_turn = fail_at_turn
        self.value = 0
        self.turn = 0
        self.closed = False

    @classmethod
    def tasks(cls) -> SeededTasks:
        """Return tasks whose field `start` is 1 to 4, by seed; 100 of them are for testing."""
        return SeededTasks(_task, {"train": None, "test": 100})

    def reset(self, task: Task) -> str:
        """Set the number."""
        self.value = task.start
        return f"value {self.value}"

    def anchor(self) -> str:
        """Return the number."""
        return f"value={self.value}"

    def close(self) -> None:
        """Note that the episode was closed."""
        self.closed = True

    def begin_turn(self) -> None:
        """Take the time that a turn takes, and fail where that was asked for."""
        turn, self.turn = self.turn, self.turn + 1
        if self.seconds_per_turn:
            time.sleep(self.seconds_per_turn)
        if turn == self.fail_at_turn:
            raise RuntimeError(f"asked to fail at turn {turn}")


class CountdownDouble(_Double):
    """Text game for tests: say "down" until the value is 0, then "stop". 0.1 for each step down, 1 for ending at 0."""

    def act(self, text: str) -> Step:
        """Carry out "down", "up" or "stop"; other words are invalid and cost a turn."""
        self.begin_turn()
        match text.strip():
            case "down" if self.value > 0:
                self.value -= 1
                return Step(f"value {self.value}", reward=0.1)
            case "up":
                self.value += 1
                return Step(f"value {self.value}")
            case "stop":
                return Step("over", done=True)
        return Step(f"no; value {self.value}", valid=False)

    def demonstrate(self) -> str:
        """Return the best word."""
        return "stop" if self.value == 0 else "down"

    @reward
    def stopped_at_zero(self) -> bool:
        """Return whether the value is 0."""
        return self.value == 0


class CounterToolsDouble(_Double):
    """Tool environment for tests: bring the value to 0 by tools, then answer without a call, which ends the episode."""

    system = "Bring the value to 0, then say done."

    @tool
    def add(self, amount: int) -> str:
        """Add to the value.

        Args:
            amount: What to add; may be negative.
        """
        self.begin_turn()
        if abs(amount) > 10:
            raise ToolError("amount must be from -10 to 10")
        self.value += amount
        return f"value {self.value}"

    @tool
    async def look(self) -> str:
        """Read the value."""
        return f"value {self.value}"

    def demonstrate(self) -> str | ToolCall:
        """Return the call that brings the value to 0, or the last word."""
        return "done" if self.value == 0 else ToolCall("add", {"amount": -self.value}, id=f"call-{self.turn}")

    @reward
    def zero(self) -> bool:
        """Return whether the value is 0."""
        return self.value == 0

    @reward(weight=0.1)
    def brief(self, task: Task) -> float | None:
        """Return 1 for a single turn, less for more; unscored where nothing was done."""
        return 1.0 / self.turn if self.turn else None
