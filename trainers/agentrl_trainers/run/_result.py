"""What a training run tells: after each step to its observer, and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentrl.metrics import RunSnapshot


class Observer(Protocol):
    """Who watches a run: the live panel, a test, nobody."""

    def update(self, snapshot: RunSnapshot) -> None:
        """Take the state of the run after an optimizer step."""
        ...

    def message(self, text: str) -> None:
        """Take one line for people: a checkpoint, a stall, an evaluation."""
        ...


class Silent:
    """An observer that keeps nothing."""

    def update(self, snapshot: RunSnapshot) -> None:
        """Ignore the snapshot."""

    def message(self, text: str) -> None:
        """Ignore the line."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        folder: The run folder.
        steps: Optimizer steps done in all, earlier sessions included.
        finished: False where it was stopped before its last step; go on with --resume.
        model: Folder of the newest weights, in transformers form.
        seconds: Wall time of this session.
    """

    folder: Path
    steps: int
    finished: bool
    model: Path
    seconds: float
