"""`agentrl quickstart`: see an agent learn, from nothing, in minutes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("runs/quickstart"), show_default=True)
@click.option("--seed", default=0, show_default=True, help="Seed of everything.")
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps on the easy level.")
@click.option("--harder-steps", type=click.IntRange(0), default=0, help="Go on to a harder level for so many steps.")
@click.option("--held-out", type=click.IntRange(1), default=400, show_default=True, help="Seeds per evaluation.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier quickstart.")
def quickstart(output: Path, seed: int, steps: int | None, harder_steps: int, held_out: int, overwrite: bool) -> None:
    """Make a small model, warm it up, train it on BabyAI in text, and show what it learned.

    Needs nothing but what is installed: no GPU, no server, no download.
    """
    from agentrl_trainers.quickstart import quickstart as run

    run(
        output,
        seed=seed,
        steps=steps,
        harder_steps=harder_steps,
        held_out=held_out,
        overwrite=overwrite,
    )
