"""A text world for tests of whole runs: any words will do, each earns what a hash of it says."""

from __future__ import annotations

import itertools
import time
import zlib

from agentrl import Env, reward
from agentrl.env import Step
from agentrl.tasks import SeededTasks, Task


class Words(Env):
    """Answer two to four times; every answer earns 0 to 1, so that even a random policy has something to learn from.

    Args:
        seconds: Time each turn takes.
        hang: The first so many episodes of a process never come back from their first turn.
        broken: Episodes that fail at their first turn: "none", "first" (a process's very first) or "all".
    """

    replayable = True
    opened = itertools.count()

    def __init__(self, seconds: float = 0.0, hang: int = 0, broken: str = "none") -> None:
        self.seconds = seconds
        self.hang = hang
        self.broken = broken
        self.seed = 0
        self.left = 0
        self.earned = 0.0

    @classmethod
    def tasks(cls) -> SeededTasks:
        """Return tasks without end, and ten for testing."""
        return SeededTasks(
            lambda split, index: Task(f"{split}-{index}", split, seed=index + (10**6 if split == "test" else 0)),
            {"train": None, "test": 10},
        )

    def reset(self, task: Task) -> str:
        """Say how often to answer."""
        self.number = next(Words.opened)
        self.seed = task.seed
        self.left = 2 + task.seed % 3
        return f"say {self.left} words"

    def act(self, text: str) -> Step:
        """Take a word."""
        if self.number < self.hang:
            time.sleep(3600)
        if self.broken == "all" or (self.broken == "first" and self.number == 0):
            raise OSError("the world has ended")
        time.sleep(self.seconds)
        earned = zlib.crc32(f"{self.seed}/{self.left}/{text}".encode()) % 5 / 4
        self.earned += earned
        self.left -= 1
        return Step(f"{self.left} more", reward=earned, done=self.left == 0)

    def anchor(self) -> str:
        """Return what the state is."""
        return f"{self.seed}/{self.left}"

    @reward
    def rich(self) -> bool:
        """Return whether the words were worth something."""
        return self.earned > 1
