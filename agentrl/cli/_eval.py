"""`agentrl eval`: the options, from what they say to a report on the screen and on disk."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from agentrl.errors import ConfigError, EnvError


def _setting(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Return the environment's settings from `name=value` pairs; values are TOML, or text where they are none."""
    found: dict[str, Any] = {}
    for pair in values:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r}: expected NAME=VALUE, e.g. --arg level=GoToObj", context, parameter)
        try:
            parsed = tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            parsed = {"value": text}
        found[name] = parsed["value"] if len(parsed) == 1 else text
    return found


@click.command(short_help="Evaluate a policy, the expert or chance on an environment.")
@click.argument("env", metavar="ENV")
@click.option(
    "--policy",
    metavar="FOLDER|oracle|random",
    help="Who acts: a model, checkpoint or run folder, the environment's expert (oracle), or chance (random).",
)
@click.option("--split", help="Split the tasks come from.  [default: test]")
@click.option("--limit", type=click.IntRange(min=1), help="Most tasks, the first ones of the split.  [default: 300]")
@click.option("--attempts", type=click.IntRange(min=1), default=1, show_default=True, help="Attempts at each task.")
@click.option("--seed", type=int, help="Seed of all sampling.  [default: 0]")
@click.option(
    "--arg", "args", metavar="NAME=VALUE", multiple=True, callback=_setting, help="Setting of the environment."
)
@click.option("--temperature", type=click.FloatRange(min=0), help="Sampling temperature; 0 = greedy.  [default: 1]")
@click.option(
    "--max-turns", type=click.IntRange(min=1), help="Actions of an episode.  [default: the environment's, or 16]"
)
@click.option("--max-tokens", type=click.IntRange(min=1), help="Sampled tokens of one turn.  [default: 64]")
@click.option("--max-context", type=click.IntRange(min=2), help="Tokens of a conversation.  [default: 1024]")
@click.option("--renderer", type=click.Choice(["auto", "hermes", "text"]), help="Form of actions.  [default: auto]")
@click.option("--in-flight", type=click.IntRange(min=1), help="Episodes under way at the same time.  [default: 64]")
@click.option("--slots", type=click.IntRange(min=1), help="Requests that decode at the same time.  [default: 48]")
@click.option("--entry", type=click.IntRange(min=0), default=0, help="Which [[env]] of a run file, from 0.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as JSON.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write report.json, report.md and what was said in each episode (episodes.jsonl) into this folder.",
)
def evaluate_command(env: str, json_file: Path | None, output: Path | None, **options: Any) -> None:
    """Evaluate a policy on ENV and report with confidence intervals.

    ENV is an environment (babyai, file.py:Class, package.module:Class) or a run file (.toml), whose environment,
    limits and model then hold; the newest checkpoint of its run is the policy unless --policy says otherwise.

    \b
    agentrl eval babyai --arg level=GoToObj --policy oracle
    agentrl eval babyai --policy models/tiny --limit 100 --json report.json
    agentrl eval run.toml
    """
    from agentrl.cli._eval_plan import Choices, plan_evaluation
    from agentrl.cli._eval_play import play
    from agentrl.evaluation import markdown, plain, table

    for place in (json_file.parent if json_file else None, output.parent if output else None):
        # Known now rather than after the episodes are played.
        if place is not None and not place.is_dir():
            raise ConfigError(f"there is no folder {place} to write the report into")
    plan = plan_evaluation(env, Choices(**options))
    if output is not None:
        output.mkdir(exist_ok=True)
    report = asyncio.run(play(plan, output / "episodes.jsonl" if output else None))
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(table(report))
    else:
        click.echo(plain(report), nl=False)
    if output is not None:
        (output / "report.json").write_text(report.to_json(), encoding="utf-8")
        (output / "report.md").write_text(markdown(report), encoding="utf-8")
    if json_file is not None:
        json_file.write_text(report.to_json(), encoding="utf-8")
    if report.scored == 0:
        raise EnvError(f"no attempt could be scored: all {len(report.outcomes)} are errors, see the report above")
