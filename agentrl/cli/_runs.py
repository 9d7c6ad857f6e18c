"""`agentrl runs`: which runs there are, and how one stands."""

from __future__ import annotations

import time
from pathlib import Path

import click

from agentrl.cli._run_folder import RunView, find_runs, is_run, size_of, started_at, view_run
from agentrl.errors import ConfigError

RUNS = Path("runs")


class RunsGroup(click.Group):
    """Takes a folder where a subcommand could stand: `agentrl runs`, `agentrl runs DIR`, `agentrl runs show DIR`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before the arguments where no subcommand is named."""
        first = next((argument for argument in args if not argument.startswith("-")), None)
        asks_for_help = any(argument in ctx.help_option_names for argument in args)
        if first not in self.commands and not (first is None and asks_for_help):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=RunsGroup, subcommand_metavar="[DIR] | show DIR")
def runs() -> None:
    """List the run folders under DIR (runs by default), or show one."""


@runs.command("list")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=RUNS)
def list_runs(folder: Path) -> None:
    """List the run folders under DIR, newest first."""
    if not folder.is_dir():
        if folder == RUNS:
            click.echo("No runs yet: there is no folder runs here. Start one with agentrl train RUN_FILE.")
            return
        raise ConfigError(f"{folder} is no folder; expected one that holds run folders, such as {RUNS}")
    found = find_runs(folder)
    if not found:
        click.echo(f"No runs under {folder}. Start one with agentrl train RUN_FILE.")
        return
    rows = []
    for path in found:
        try:
            rows.append(_row(view_run(path)))
        except ConfigError as error:
            rows.append((str(path), "?", "?", "?", "?", "damaged", "?"))
            click.echo(f"{path}: {error}", err=True)
    _print_table(("run", "env", "steps", "success", "started", "state", "size"), rows)


@runs.command("show")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--last", default=5, show_default=True, type=click.IntRange(min=1), help="Steps of metrics to show.")
def show(folder: Path, last: int) -> None:
    """Show a run's configuration, its latest metrics and what its store holds."""
    if not is_run(folder):
        beside = find_runs(folder if folder.is_dir() else folder.parent) if folder.parent.is_dir() else []
        hint = "; runs there: " + ", ".join(map(str, beside[:5])) if beside else ""
        raise ConfigError(f"{folder} is no run folder: it holds no resolved.toml{hint}")
    view = view_run(folder)
    writer = f", written by process {view.writer}" if view.writer else ""
    click.echo(f"{folder}: {view.state}{writer}, {view.steps} of {view.config.steps} steps")
    if view.problem:
        click.echo(click.style(f"problem: {view.problem}", fg="red"))
    if view.checkpoint:
        click.echo(f"checkpoint: {folder / view.checkpoint.path}, policy version {view.checkpoint.version}")
    if view.counts:
        counts = view.counts
        click.echo(
            f"store: {counts.groups} groups, {counts.trajectories} trajectories ({counts.finished} finished, "
            f"{counts.claimed} claimed, {counts.consumed} consumed, {counts.errors} errors), {counts.turns} turns"
        )
    if view.metrics:
        click.echo(f"\nlast {min(last, len(view.metrics))} steps:")
        names = [name for name in view.metrics[-1] if name not in ("step", "time")]
        width = max((len(name) for name in names), default=0)
        newest = view.metrics[-last:]
        click.echo("  " + " ".join([f"{'step':<{width}}", *(f"{row['step']:>10}" for row in newest)]))
        for name in names:
            click.echo("  " + " ".join([f"{name:<{width}}", *(f"{_cell(row.get(name)):>10}" for row in newest)]))
    click.echo(f"\n{folder / 'resolved.toml'}:")
    click.echo((folder / "resolved.toml").read_text(encoding="utf-8"), nl=False)


def _row(view: RunView) -> tuple[str, ...]:
    success = view.last("success")
    envs = ", ".join(" ".join([env.id, *map(str, env.args.values())]) for env in view.config.env)
    return (
        str(view.path),
        envs,
        f"{view.steps}/{view.config.steps}",
        "-" if success is None else f"{success:.1%}",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(started_at(view.path, view.metrics))),
        view.state,
        _size(size_of(view.path)),
    )


def _print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for place, row in enumerate([header, *rows]):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if place == 0 else line)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str("-" if value is None else value)[:10]


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
