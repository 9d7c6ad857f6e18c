"""What the quickstart runs: its run file, and the same on a harder level."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from agentrl.config import RunConfig, load_run

EASY = "GoToObj"
HARD = "GoToRedBall"
"""One room like the easy level, with seven other objects in it; the goal is always the red ball."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages' run configurations and where things go.

    Attributes:
        folder: Everything the quickstart makes.
        first: Training on the easy level, from the warm start.
        second: Training on the harder level, from what the first has learned.
        held_out: Seeds of the test split that each evaluation plays.
    """

    folder: Path
    first: RunConfig
    second: RunConfig
    held_out: int

    @property
    def base(self) -> Path:
        """The model with random weights."""
        return self.folder / "base"

    @property
    def warm(self) -> Path:
        """The model after the warm start."""
        return self.folder / "warm"


def make_plan(folder: Path, seed: int, steps: int | None, harder_steps: int, held_out: int) -> Plan:
    """Return the plan for a folder; `steps` None is as many as the run file says."""
    common = {"seed": str(seed), "model": str(folder / "warm"), "output": str(folder / "train")}
    with as_file(files("agentrl_trainers.quickstart") / "babyai.toml") as run_file:
        first = load_run(run_file, common if steps is None else common | {"steps": str(steps)})
    easy = first.env[0]
    second = first.model_copy(
        update={
            "steps": max(1, harder_steps),
            "output": folder / "harder",
            # A policy that can do something already is moved more carefully.
            "trainer": first.trainer.model_copy(update={"lr": first.trainer.lr * 2 / 3, "warmup_steps": 4}),
            "env": (easy.model_copy(update={"args": {**easy.args, "level": HARD}}),),
        }
    )
    return Plan(folder, first, second, held_out)
