"""`agentrl train`: run a run file, live on the terminal, until it is done or Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from agentrl.cli import RunFileCommand
from agentrl.config import RunConfig
from agentrl.metrics import Panel
from agentrl_trainers import run


@click.command(cls=RunFileCommand)
@click.option("--resume", is_flag=True, help="Go on with the run in the run file's output folder.")
def train(config: RunConfig, run_file: Path, resume: bool) -> None:
    """Train a policy by reinforcement learning, as RUN_FILE says.

    Ctrl-C ends the run between two steps; --resume goes on where it, or a killed run, stopped. A second Ctrl-C stops
    at once, which loses nothing either but unfinished episodes.
    """
    title = ", ".join(section.name or section.id for section in config.env)
    with Panel(config.steps, f"{title} → {config.output}") as panel:
        result = run_until_interrupted(config, panel, resume=resume)
    if result.finished:
        click.echo(f"{result.steps} steps done in {result.seconds:.0f} s; the model is in {result.model}")
        click.echo(f"evaluate it: agentrl eval {run_file}")
    else:
        click.echo(f"stopped after step {result.steps}; go on: agentrl train {run_file} --resume")
        raise click.exceptions.Exit(130)


def run_until_interrupted(config: RunConfig, observer: run.Observer, *, resume: bool = False) -> run.TrainingResult:
    """Train in a fresh event loop; the first SIGINT or SIGTERM ends the run cleanly, the second at once."""

    async def go() -> run.TrainingResult:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def ask() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            observer.message("stopping after this step; once more stops at once")
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ask)
        try:
            return await run.train(config, resume=resume, observer=observer, stop=stop)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    return asyncio.run(go())
