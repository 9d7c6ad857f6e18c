"""Evaluation while training goes on: the same engine, held-out tasks, one evaluation at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentrl.config import RunConfig
from agentrl.evaluation import EnginePlayer, evaluate
from agentrl.policy import PolicyEngine
from agentrl.rendering import load_renderer
from agentrl.rollout import EnvironmentShare, EpisodeLimits
from agentrl_trainers.run._result import Observer


class Evaluations:
    """Plays held-out tasks every `[eval] every` steps, beside the rollouts.

    Weights go on changing meanwhile: an evaluation that began after step k is of the policies from k on, and its line
    says over which versions it ran. For one fixed policy evaluate a checkpoint by `agentrl eval`.
    """

    def __init__(
        self, config: RunConfig, shares: Sequence[EnvironmentShare], engine: PolicyEngine, observer: Observer
    ) -> None:
        self._section = config.eval
        self._shares = shares
        self._engine = engine
        self._observer = observer
        self._limits = EpisodeLimits.of(config.rollout)
        self._seed = config.seed
        self._in_flight = max(1, config.rollout.slots // 2)
        self._renderer = load_renderer(config.model, config.rollout.renderer)
        self._running: asyncio.Task[None] | None = None
        self._figures: dict[str, float | str | None] = {}

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

    def take(self) -> dict[str, float | str | None]:
        """Return the figures of the evaluation that ended last, once: they go into the next line of metrics."""
        figures, self._figures = self._figures, {}
        return figures

    async def _run(self, step: int) -> None:
        first = self._engine.version
        figures: dict[str, float | str | None] = {"eval/step": step}
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
            what = "success" if report.success else "reward"
            figures[f"eval/{share.factory.name}/{what}"] = found.mean
            interval = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
            self._observer.message(
                f"evaluation after step {step}: {share.factory.name} {self._section.split} {what} "
                f"{found.mean:.3f}{interval} of {found.count}, versions {first} to {self._engine.version}"
            )
        self._figures = figures
