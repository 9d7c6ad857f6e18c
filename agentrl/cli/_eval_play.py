"""Carrying out a planned evaluation: the environment and the policy opened, the episodes played, all closed."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from agentrl.cli._catalog import prerequisite
from agentrl.cli._eval_plan import Plan
from agentrl.env import EnvFactory, load
from agentrl.errors import ConfigError
from agentrl.evaluation import (
    EnginePlayer,
    EvalReport,
    EvalSetting,
    ExpertPlayer,
    Outcome,
    Player,
    RandomPlayer,
    command_line,
    default_limits,
    evaluate,
    model_hash,
    survey_actions,
    versions,
)
from agentrl.rollout._limits import EpisodeLimits
from agentrl.trajectory import SpanKind, Trajectory


async def play(plan: Plan, episodes_file: Path | None) -> EvalReport:
    """Play a planned evaluation and return its report.

    Args:
        plan: What to do.
        episodes_file: Where to write what was said in each episode of a model, or None.
    """
    factory = load(plan.env, **plan.args)
    limits = dataclasses.replace(
        default_limits(factory, plan.max_turns), max_tokens_per_turn=plan.max_tokens, max_context=plan.max_context
    )
    async with _player(plan, factory, limits, episodes_file) as player:
        size = factory.tasks.size(plan.split) if plan.split in factory.tasks.splits() else None
        count = plan.limit if size is None else min(plan.limit, size)
        setting = EvalSetting(
            env=plan.env,
            env_args=dict(plan.args),
            policy=str(plan.policy),
            policy_notes=player.notes,
            model_hash=model_hash(plan.policy) if isinstance(plan.policy, Path) else None,
            split=plan.split,
            limit=count,
            attempts=plan.attempts,
            seed=plan.seed,
            limits=dataclasses.asdict(limits),
            command=command_line(),
            versions=versions(),
            started=time.time(),
        )
        with _progress(count * plan.attempts) as advance:
            return await evaluate(
                factory,
                player,
                split=plan.split,
                limit=plan.limit,
                attempts=plan.attempts,
                seed=plan.seed,
                limits=limits,
                in_flight=plan.in_flight,
                setting=setting,
                on_outcome=advance,
            )


@asynccontextmanager
async def _player(
    plan: Plan, factory: EnvFactory, limits: EpisodeLimits, episodes_file: Path | None
) -> AsyncIterator[Player]:
    if plan.policy == "oracle":
        if not factory.has_expert:
            raise ConfigError(f"--policy oracle: environment {plan.env} has no expert (no method demonstrate)")
        yield ExpertPlayer()
        return
    if plan.policy == "random":
        splits = factory.tasks.splits()
        survey = "train" if "train" in splits else splits[0]
        yield RandomPlayer(await survey_actions(factory, survey, limits))
        return
    folder = Path(plan.policy)
    try:
        from agentrl.policy.embedded import EmbeddedEngine
        from agentrl.rendering import load_renderer

        renderer = load_renderer(folder, plan.renderer)
        engine = EmbeddedEngine.from_folder(folder, slots=plan.slots, max_context=plan.max_context)
    except ModuleNotFoundError as error:
        raise prerequisite(f"evaluating the model {folder}", error, "train") from error
    try:
        with _transcripts(episodes_file, renderer.decode) as write:
            yield EnginePlayer(engine, renderer, plan.temperature, write)
    finally:
        await engine.close()


@contextmanager
def _transcripts(path: Path | None, decode: Callable[[Any], str]) -> Iterator[Callable[[Trajectory], None] | None]:
    """Give a function that appends what was said in an episode to a file, or None without a file."""
    if path is None:
        yield None
        return
    with path.open("w", encoding="utf-8") as file:

        def write(trajectory: Trajectory) -> None:
            file.write(json.dumps(_transcript(trajectory, decode), ensure_ascii=False) + "\n")

        yield write


def _transcript(trajectory: Trajectory, decode: Callable[[Any], str]) -> dict[str, Any]:
    prompts = [span for segment in trajectory.segments for span in segment.spans if span.kind is SpanKind.PROMPT]
    return {
        "task_id": trajectory.task_id,
        "attempt": trajectory.member,
        "retry": trajectory.retry,
        "reward": trajectory.reward,
        "reward_parts": trajectory.reward_parts,
        "status": trajectory.status.value,
        "stop_reason": trajectory.stop_reason.value,
        "error": trajectory.error,
        "metadata": trajectory.metadata,
        "prompt": decode(prompts[0].tokens) if prompts else "",
        "turns": [
            {"action": turn.text, "observation": turn.observation, "valid": turn.valid, "rewards": turn.rewards}
            for turn in trajectory.turns
        ],
    }


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Outcome], None] | None]:
    """Show a bar on standard error while attempts are played, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[success]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        task = bar.add_task("", total=total, success="")
        solved = judged = 0

        def advance(outcome: Outcome) -> None:
            nonlocal solved, judged
            judged += outcome.success is not None
            solved += bool(outcome.success)
            bar.update(task, advance=1, success=f"success {solved / judged:.0%}" if judged else "")

        yield advance
