"""The stages of the quickstart, each what one command of AgentRL does; the command is printed beside it."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from rich.console import Console

from agentrl import load
from agentrl.config import RunConfig
from agentrl.errors import ConfigError, EnvError
from agentrl.evaluation import EnginePlayer, EvalReport, evaluate
from agentrl.metrics import Panel
from agentrl.policy.embedded import EmbeddedEngine
from agentrl.rendering import load_renderer
from agentrl.rollout import EpisodeLimits
from agentrl_trainers.commands._init_model import make_model
from agentrl_trainers.commands._train import run_until_interrupted
from agentrl_trainers.quickstart._plan import HARD, Plan, make_plan
from agentrl_trainers.quickstart._report import Measured, draw_curve, save_figures, show_table
from agentrl_trainers.run import open_environments
from agentrl_trainers.sft import collect_demonstrations, sft


def quickstart(
    folder: Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    harder_steps: int = 0,
    held_out: int = 400,
    overwrite: bool = False,
) -> list[Measured]:
    """Make a model, warm it up, train it, if asked go on to a harder level, and evaluate in between.

    Args:
        folder: Where everything goes.
        seed: Seed of the model, of the episodes and of all sampling.
        steps: Optimizer steps on the easy level; by default those of the run file.
        harder_steps: Optimizer steps on the harder level; 0 leaves it out.
        held_out: Seeds of the test split per evaluation.
        overwrite: Replace what an earlier quickstart made there.

    Returns:
        Every evaluation, in order.

    Raises:
        ConfigError: The folder holds something and `overwrite` is False.
    """
    if folder.exists() and any(folder.iterdir()):
        if not overwrite:
            raise ConfigError(f"{folder} holds an earlier quickstart; add --overwrite, or choose another by --output")
        shutil.rmtree(folder)
    plan = make_plan(folder, seed, steps, harder_steps, held_out)
    console = Console(soft_wrap=True)
    clock = time.monotonic()
    easy = plan.first.env[0].args["level"]

    console.print(f"[bold]1. a model from nothing[/bold], with a tokenizer of the environment's words → {plan.base}")
    _make_base(plan, console)
    console.print(f"[bold]2. warm start[/bold] on {plan.first.sft.episodes} episodes of the expert → {plan.warm}")
    _warm_up(plan, console)
    measured = [_measure(plan, plan.first, plan.warm, "warm start", console)]
    console.print(f"[bold]3. reinforcement learning[/bold] on {easy}, rollouts and trainer side by side")
    trained = _train(plan.first)
    measured.append(_measure(plan, plan.first, trained, "after RL", console))
    runs = [(easy, plan.first.output)]
    if harder_steps:
        console.print(f"[bold]4. a harder level[/bold]: {HARD}, from what was learned on {easy}")
        second = plan.second.model_copy(update={"model": trained})
        measured.append(_measure(plan, second, trained, "before", console))
        climbed = _train(second)
        measured.append(_measure(plan, second, climbed, "after RL", console))
        runs.append((HARD, second.output))

    curve = plan.folder / "curve.png"
    draw_curve(runs, curve)
    save_figures(measured, plan.folder / "quickstart.json")
    console.print()
    show_table(measured, console)
    console.print(f"\n{time.monotonic() - clock:.0f} s in all. Look at next:")
    console.print(f"  {curve}  the learning curve")
    console.print(f"  agentrl runs show {plan.first.output}  configuration and metrics of the run")
    console.print(f"  agentrl eval babyai --arg level={easy} --policy {trained} --output {plan.folder / 'look'}")
    console.print("      what the policy does, turn by turn, in episodes.jsonl")
    console.print(f"  tensorboard --logdir {plan.folder}  every metric over time")
    return measured


def _make_base(plan: Plan, console: Console) -> None:
    # The tokenizer reads both levels: the policy goes from one to the other.
    easy, hard = plan.first.env[0], plan.second.env[0]
    both = (easy.model_copy(update={"name": "easy"}), hard.model_copy(update={"name": "hard"}))
    made = asyncio.run(make_model(plan.first.model_copy(update={"model": plan.base, "env": both}), "text"))
    console.print(f"   {made.parameters:,} parameters, {made.vocabulary} tokens")


def _warm_up(plan: Plan, console: Console) -> None:
    config = plan.first.model_copy(update={"model": plan.base})
    demonstrations = asyncio.run(collect_demonstrations(config, open_environments(config)))
    report = sft(plan.base, demonstrations.trajectories, config.sft, seed=config.seed, output=plan.warm)
    console.print(
        f"   {report.steps} steps in {report.seconds:.1f} s, loss {report.first_loss:.2f} → {report.last_loss:.2f} "
        "nats per action token"
    )


def _train(config: RunConfig) -> Path:
    with Panel(config.steps, f"{config.env[0].args['level']} → {config.output}") as panel:
        result = run_until_interrupted(config, panel)
    if not result.finished:
        raise KeyboardInterrupt
    return result.model


def _measure(plan: Plan, config: RunConfig, policy: Path, name: str, console: Console) -> Measured:
    section = config.env[0]
    report = asyncio.run(_evaluate(plan, config, policy))
    estimate = report.success
    if estimate is None or estimate.low is None or estimate.high is None:
        raise EnvError(f"environment {section.id}: no episode was scored; the report says {report.errors} errors")
    row = Measured(section.args["level"], name, estimate.mean, estimate.low, estimate.high, estimate.count)
    console.print(f"   {row.level}, {name}: {row.text()} of {row.episodes} held-out seeds")
    return row


async def _evaluate(plan: Plan, config: RunConfig, policy: Path) -> EvalReport:
    section = config.env[0]
    engine = EmbeddedEngine.from_folder(policy, slots=64, max_context=config.rollout.max_context)
    try:
        player = EnginePlayer(engine, load_renderer(policy), config.eval.temperature)
        return await evaluate(
            load(section.id, **section.args),
            player,
            split=config.eval.split,
            limit=plan.held_out,
            seed=config.seed,
            limits=EpisodeLimits.of(config.rollout),
            in_flight=128,
        )
    finally:
        await engine.close()
