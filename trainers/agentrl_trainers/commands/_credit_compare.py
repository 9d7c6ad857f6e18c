"""`agentrl credit compare`: what each turn of a run would have been rewarded with under several credit methods."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrl.config import RESOLVED_NAME, RunConfig, load_run
from agentrl.errors import ConfigError
from agentrl.rollout import group_id
from agentrl.store import STORE_NAME, SqliteStore
from agentrl.trajectory import Trajectory
from agentrl_trainers.credit._comparison import Comparison, TurnCredit, compare

DEFAULT_METHODS = "grpo,gigpo,hgpo,empg"


@click.command("compare")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--methods", default=DEFAULT_METHODS, show_default=True, help="Credit methods, separated by commas.")
@click.option("--group", help="Group to show; by default that of the newest step whose rewards differ most.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all turns to a file.")
def compare_command(run: Path, methods: str, group: str | None, json_file: Path | None) -> None:
    """Recompute the credit of recorded trajectories under several methods, turn by turn.

    RUN is a run folder, also of a run that is going on: it is only read. Methods that centre or scale over a batch do
    so over the groups of one optimizer step around the group that is shown. A method that the record has too little
    for says what is missing.
    """
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--methods {methods!r} names no method; expected names separated by commas")
    config = _config(run)
    trajectories = asyncio.run(_read(run, config, group))
    comparison = compare(trajectories, names)
    shown = group or _most_telling(comparison.turns)
    if json_file is not None:
        json_file.write_text(json.dumps(_document(run, comparison), indent=2) + "\n", encoding="utf-8")
    console = Console()
    console.print(_table(comparison, shown))
    batch = {turn.trajectory.group_id for turn in comparison.turns}
    console.print(f"group {shown}, one of {len(batch)} in its batch", markup=False, highlight=False)
    if comparison.left_out:
        console.print(f"{comparison.left_out} trajectories of the batch have no reward and are left out")
    for name, reason in comparison.missing.items():
        console.print(f"{name}: {reason}", style="yellow", markup=False, highlight=False)


def _config(run: Path) -> RunConfig:
    for name in (RESOLVED_NAME, STORE_NAME):
        if not (run / name).is_file():
            raise ConfigError(f"{run} is no run folder that has begun: it holds no {name}. List runs: agentrl runs")
    return load_run(run / RESOLVED_NAME)


async def _read(run: Path, config: RunConfig, group: str | None) -> list[Trajectory]:
    """Return the trajectories of one optimizer step's groups: around `group`, or the newest that teach something."""
    size = config.rollout.groups_per_step
    store = SqliteStore.open(run / STORE_NAME, readonly=True)
    try:
        admitted = await store.next_group_index()
        ids = [group_id(config.output.name, index) for index in range(admitted)]
        if group is not None:
            if group not in ids:
                last = f", the last is {ids[-1]!r}" if ids else ""
                raise ConfigError(f"--group {group!r}: this run has no such group{last}")
            first = ids.index(group) // size * size
            return await store.trajectories(ids[first : first + size])
        fallback: list[Trajectory] = []
        for first in range((admitted - 1) // size * size, -1, -size):
            found = await store.trajectories(ids[first : first + size])
            scored = [row for row in found if row.reward is not None and row.turns]
            if _spread(scored) > 0:
                return found
            fallback = fallback or (found if scored else [])
        if not fallback:
            raise ConfigError(f"{run} holds no finished trajectory yet; try again after its first step")
        return fallback
    finally:
        await store.close()


def _spread(rows: Iterable[Trajectory]) -> float:
    """Return the largest standard deviation of rewards within a group."""
    rewards: dict[str, list[float]] = {}
    for row in rows:
        if row.reward is not None:
            rewards.setdefault(row.group_id, []).append(row.reward)
    return max((statistics.pstdev(values) for values in rewards.values()), default=0.0)


def _most_telling(turns: Sequence[TurnCredit]) -> str:
    rows = {turn.trajectory.id: turn.trajectory for turn in turns}
    groups: dict[str, list[Trajectory]] = {}
    for row in rows.values():
        groups.setdefault(row.group_id, []).append(row)
    return max(groups, key=lambda name: _spread(groups[name]), default="")


def _table(comparison: Comparison, group: str) -> Table:
    table = Table(title_justify="left")
    table.add_column("member", justify="right")
    table.add_column("turn", justify="right")
    table.add_column("action", no_wrap=True, ratio=1, min_width=16)
    table.add_column("reward", justify="right")
    table.add_column("same state", justify="right")
    for name in comparison.methods:
        table.add_column(name, justify="right", no_wrap=True)
    members = [turn for turn in comparison.turns if turn.trajectory.group_id == group]
    for turn in members:
        row = turn.trajectory
        last = turn.turn == len(row.turns) - 1
        table.add_row(
            str(row.member) if turn.turn == 0 else "",
            str(turn.turn),
            Text(_shortened(row.turns[turn.turn].text)),
            f"{turn.reward:g}" if turn.reward else "",
            str(turn.anchor_group or "-"),
            *(_signed(turn.advantages[name]) for name in comparison.methods),
            end_section=last,
        )
    return table


def _shortened(text: str, width: int = 60) -> str:
    """Return the end of an action on one line: what was done stands behind what was thought."""
    # A policy can sample control characters and half a surrogate pair, which no terminal should get.
    line = "".join(sign if sign.isprintable() else "�" for sign in " ".join(text.split()))
    return line if len(line) <= width else "…" + line[-width + 1 :]


def _signed(value: float) -> Text:
    style = "green" if value > 0 else "red" if value < 0 else "dim"
    return Text(f"{value:+.3f}" if value else "0", style=style)


def _document(run: Path, comparison: Comparison) -> dict[str, Any]:
    return {
        "run": str(run),
        "methods": list(comparison.methods),
        "missing": comparison.missing,
        "left_out": comparison.left_out,
        "turns": [
            {
                "group": turn.trajectory.group_id,
                "trajectory": turn.trajectory.id,
                "member": turn.trajectory.member,
                "turn": turn.turn,
                "text": turn.trajectory.turns[turn.turn].text,
                "reward": turn.reward,
                "trajectory_reward": turn.trajectory.reward,
                "anchor": turn.trajectory.turns[turn.turn].anchor,
                "anchor_group": turn.anchor_group,
                "advantages": turn.advantages,
            }
            for turn in comparison.turns
        ],
    }
