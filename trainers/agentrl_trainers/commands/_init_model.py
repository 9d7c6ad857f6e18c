"""`agentrl init-model`: a small model with a tokenizer of the environment's own words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import click

from agentrl.cli import RunFileCommand
from agentrl.config import RunConfig
from agentrl_trainers import init_model as making
from agentrl_trainers.run import open_environments


@click.command(name="init-model", cls=RunFileCommand)
@click.option("--hidden", default=128, show_default=True, help="Width of the model.")
@click.option("--layers", default=4, show_default=True, help="Transformer blocks.")
@click.option("--heads", default=4, show_default=True, help="Attention heads.")
@click.option("--kv-heads", default=2, show_default=True, help="Key and value heads.")
@click.option("--vocabulary", default=1024, show_default=True, help="Most entries of the tokenizer.")
@click.option("--texts", default=200, show_default=True, help="Episodes read for the tokenizer.")
@click.option("--overwrite", is_flag=True, help="Replace the folder if it holds something.")
def init_model(
    config: RunConfig,
    run_file: Path,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    vocabulary: int,
    texts: int,
    overwrite: bool,
) -> None:
    """Make the model that RUN_FILE names: random weights, and a tokenizer of its environments' text."""
    template: Literal["text", "hermes"] = "text" if config.rollout.renderer == "text" else "hermes"
    made = asyncio.run(
        make_model(
            config,
            template,
            hidden=hidden,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            vocabulary=vocabulary,
            texts=texts,
            overwrite=overwrite,
        )
    )
    click.echo(f"{made.path}: {made.parameters:,} parameters, {made.vocabulary} tokens")
    click.echo(f"warm it up: agentrl sft {run_file}")


async def make_model(
    config: RunConfig,
    template: Literal["text", "hermes"],
    *,
    hidden: int = 128,
    layers: int = 4,
    heads: int = 4,
    kv_heads: int = 2,
    vocabulary: int = 1024,
    texts: int = 200,
    overwrite: bool = False,
) -> making.InitializedModel:
    """Make the model of a run file at `config.model`."""
    collected: list[str] = []
    for share in open_environments(config):
        collected += await making.environment_texts(
            share.factory, texts, split=share.split, max_turns=config.rollout.max_turns, seed=config.seed
        )
    return making.init_model(
        config.model,
        collected,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        vocab_size=vocabulary,
        max_context=config.rollout.max_context,
        template=template,
        seed=config.seed,
        overwrite=overwrite,
    )
