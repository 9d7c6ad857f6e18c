"""Speed and size of the environments, each beside its bare engine, measured in the same run.

    python benchmarks/environments.py [--seconds 2] [--json FILE]

Columns: steps/s of one core with text observations and the anchor of every state; how much faster that is than the
engine's own `step` with its image; steps/s through a session, with its thread; resets/s; memory of one live instance.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agentrl.env import load
from agentrl.messages import Message
from agentrl.tasks import Task
from agentrl_environments.babyai import Action, BabyAI

LEVELS = ("GoToObj", "GoToLocal", "PickupLoc", "UnlockLocal", "BossLevel")


def _random_actions() -> list[Action]:
    """Return random actions, the same in every run: half of them forward, as a policy walks."""
    return random.Random(0).choices(list(Action), weights=[2, 2, 6, 1, 1, 1], k=4096)


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Return how often a second `work` runs."""
    work()
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        work()
        count += 1
    return count / passed


def _begin(level: str, seed: int) -> BabyAI:
    env = BabyAI(level=level)
    env.reset(Task(f"bench-{seed}", "train", seed=seed))
    return env


def _steps(level: str, seconds: float) -> float:
    """Return steps/s with text and anchor; the episodes' resets are not counted."""
    actions = itertools.cycle(action.word for action in _random_actions())
    steps, spent = 0, 0.0
    for seed in itertools.count():
        env = _begin(level, seed)
        started = time.perf_counter()
        for _ in range(64):
            step = env.act(next(actions))
            env.anchor()
            steps += 1
            if step.done:
                break
        spent += time.perf_counter() - started
        if spent > seconds:
            break
    return steps / spent


def _engine_steps(level: str, seconds: float) -> float:
    """Return steps/s of the engine as its users run it: `gymnasium.make`, its image and its mission."""
    import gymnasium

    engine = gymnasium.make(f"BabyAI-{level}-v0", disable_env_checker=True).unwrapped
    actions = itertools.cycle(map(int, _random_actions()))
    engine.reset(seed=0)
    return _rate(lambda: engine.step(next(actions)), seconds)


async def _session_steps(level: str, seconds: float) -> float:
    """Return steps/s through the session contract, as an agent loop plays; resets are not counted."""
    factory = load("babyai", level=level)
    messages = itertools.cycle([Message("assistant", action.word) for action in _random_actions()])
    steps, spent = 0, 0.0
    for seed in itertools.count():
        session = factory.session()
        await session.reset(factory.tasks.task("train", seed))
        started = time.perf_counter()
        for _ in range(64):
            result = await session.step(next(messages))
            steps += 1
            if result.done:
                break
        spent += time.perf_counter() - started
        await session.close()
        if spent > seconds:
            break
    return steps / spent


def _kilobytes(level: str, instances: int = 100) -> float:
    """Return the memory of one live episode in kB, its expert not begun."""
    _begin(level, 0)
    tracemalloc.start()
    kept = [_begin(level, seed) for seed in range(instances)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / len(kept) / 1000


def measure(level: str, seconds: float) -> dict[str, float]:
    """Return the row of one level."""
    seeds = itertools.count()
    steps, engine = _steps(level, seconds), _engine_steps(level, seconds)
    return {
        "steps_per_second": steps,
        "engine_steps_per_second": engine,
        "ratio_to_engine": steps / engine,
        "session_steps_per_second": asyncio.run(_session_steps(level, seconds)),
        "resets_per_second": _rate(lambda: _begin(level, next(seeds)), seconds),
        "kilobytes_per_instance": _kilobytes(level),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each figure")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    rows = {level: measure(level, arguments.seconds) for level in LEVELS}
    table = Table("babyai level", "steps/s", "engine", "ratio", "session", "resets/s", "kB")
    for name, row in rows.items():
        steps, engine, ratio, session, resets, kilobytes = row.values()
        figures = (
            f"{steps:,.0f}",
            f"{engine:,.0f}",
            f"{ratio:.1f}x",
            f"{session:,.0f}",
            f"{resets:,.0f}",
            f"{kilobytes:.0f}",
        )
        table.add_row(name, *figures)
    for column in table.columns[1:]:
        column.justify = "right"
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"babyai": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
