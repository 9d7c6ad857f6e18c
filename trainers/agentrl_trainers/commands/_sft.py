"""`agentrl sft`: warm a policy up on episodes of the environments' experts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from agentrl.cli import RunFileCommand
from agentrl.config import RunConfig
from agentrl_trainers.run import check_model, open_environments
from agentrl_trainers.sft import collect_demonstrations
from agentrl_trainers.sft import sft as imitate


@click.command(cls=RunFileCommand)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    help="Model folder to write; by default `warm` in the run file's output folder.",
)
def sft(config: RunConfig, run_file: Path, target: Path | None) -> None:
    """Warm a policy up on expert episodes of the environments in RUN_FILE, with loss on action tokens only."""
    shares = open_environments(config)
    check_model(config, shares)
    target = target or config.output / "warm"
    demonstrations = asyncio.run(collect_demonstrations(config, shares))
    click.echo(
        f"{len(demonstrations.trajectories)} expert episodes, {demonstrations.solved:.0%} solved, "
        f"{demonstrations.failed} left out because the expert failed"
    )
    report = imitate(
        config.model,
        demonstrations.trajectories,
        config.sft,
        seed=config.seed,
        output=target,
        token_budget=config.trainer.token_budget,
    )
    click.echo(
        f"{report.steps} steps in {report.seconds:.0f} s, loss {report.first_loss:.3f} → {report.last_loss:.3f} nats "
        f"per action token, {report.tokens_per_second:,.0f} tokens/s; the model is in {target}"
    )
    click.echo(f"train it: agentrl train {run_file} --model {target}")
