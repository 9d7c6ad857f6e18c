"""Evaluation while training goes on: the same engine, held-out tasks, one evaluation at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from agentrl.config import RunConfig
from agentrl.evaluation import EnginePlayer, evaluate
from agentrl.policy import PolicyEngine
from agentrl.rendering import load_renderer
from agentrl.rollout import EnvironmentShare, EpisodeLimits
from agentrl_trainers.run._result import Observer

EVALUATIONS_NAME = "evaluations.jsonl"


class Evaluations:
    """Plays held-out tasks every `[eval] every` steps, beside the rollouts; a line each in `evaluations.jsonl`.

    Weights go on changing meanwhile: an evaluation that began after step k is of the policies from k on, and its line
    says over which versions it ran. For one fixed policy evaluate a checkpoint by `agentrl eval`.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        shares: Sequence[EnvironmentShare],
        engine: PolicyEngine,
        observer: Observer,
    ) -> None:
        self._file = folder / EVALUATIONS_NAME
        self._section = config.eval
        self._shares = shares
        self._engine = engine
        self._observer = observer
        self._limits = EpisodeLimits.of(config.rollout)
        self._seed = config.seed
        self._in_flight = max(1, config.rollout.slots // 2)
        self._renderer = load_renderer(config.model, config.rollout.renderer)
        self._running: asyncio.Task[None] | None = None

    def start_if_due(self, step: int, tasks: asyncio.TaskGroup) -> None:
        """Begin an evaluation after `step` if one is due; say so if the last is still under way."""
        if not self._section.every or step % self._section.every:
            return
        if self._running is not None and not self._running.done():
            self._observer.message(f"evaluation after step {step} left out: the one before is still running")
            return
        self._running = tasks.create_task(self._run(step), name=f"evaluation after step {step}")

    async def finish(self) -> None:
        """Wait for the evaluation that is under way; every episode of it has its own time limit."""
        if self._running is not None:
            await self._running

    def cancel(self) -> None:
        """Give up the evaluation that is under way: a run that is asked to stop does not wait for it."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, step: int) -> None:
        first = self._engine.version
        for share in self._shares:
            report = await evaluate(
                share.factory,
                EnginePlayer(self._engine, self._renderer, self._section.temperature),
                split=self._section.split,
                limit=self._section.episodes,
                seed=self._seed,
                limits=self._limits,
                in_flight=self._in_flight,
            )
            found = report.success or report.reward
            if found is None:
                self._observer.message(f"evaluation after step {step}: {share.factory.name}: no episode was scored")
                continue
            line = {
                "step": step,
                "env": share.factory.name,
                "split": self._section.split,
                "metric": "success" if report.success else "reward",
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "count": found.count,
                "versions": [first, self._engine.version],
            }
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            interval = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
            self._observer.message(
                f"evaluation after step {step}: {line['env']} {line['split']} {line['metric']} "
                f"{found.mean:.3f}{interval} of {found.count}, versions {first} to {self._engine.version}"
            )
