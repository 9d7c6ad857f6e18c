"""A report for people: on the terminal, as plain text, as Markdown. The same rows in all three."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentrl.evaluation._report import EvalReport
from agentrl.evaluation._statistics import Estimate
from agentrl.metrics._format import duration

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a name, a figure, its interval or a remark."""

    name: str
    value: str
    remark: str = ""


def title(report: EvalReport) -> str:
    """Return what was evaluated, in one line."""
    setting = report.setting
    args = "".join(f" {name}={value}" for name, value in setting.env_args.items())
    weights = f" (weights {setting.model_hash})" if setting.model_hash else ""
    tasks = len({outcome.task_id for outcome in report.outcomes})
    times = f" x {setting.attempts} attempts" if setting.attempts > 1 else ""
    return f"{setting.env}{args} · {setting.split} · {setting.policy}{weights} · {tasks} tasks{times}"


def rows(report: EvalReport) -> Iterator[Row]:
    """Yield the table of a report, most important first."""
    if report.success is not None:
        yield Row("success", f"{report.success.mean:.1%}", _percent_interval(report.success))
    if report.reward is not None:
        yield Row("reward", f"{report.reward.mean:.3f}", _interval(report.reward))
    for name, part in report.parts.items():
        unscored = "" if part.count == report.scored else f"scored in {part.count} of {report.scored}"
        yield Row(f"  {name}", f"{part.mean:.3f}", "  ".join(filter(None, [_interval(part), unscored])))
    for k, share in report.pass_at.items():
        yield Row(f"pass@{k}", f"{share:.1%}", f"pass^{k} {report.pass_all[k]:.1%}")
    for name, part in report.categories.items():
        yield Row(f"  {name}", f"{part.mean:.3f}", f"{_interval(part)}  {part.clusters} tasks")
    if report.scored:
        yield Row("ended", "", ", ".join(f"{name} {count}" for name, count in report.stop_reasons.items()))
        means = report.means
        cost = [f"{means['turns']:.1f} turns", f"{means['tokens']:.0f} tokens", f"{means['seconds']:.2f} s an episode"]
        if means["invalid_turns"]:
            cost.append(f"{means['invalid_turns']:.1%} of actions invalid")
        if means["tool_errors"]:
            cost.append(f"{means['tool_errors']:.1%} of tool calls failed")
        yield Row("cost", "", ", ".join(cost))
    failed = len(report.outcomes) - report.scored
    share = failed / max(1, len(report.outcomes))
    retried = f"; {report.retried} attempts were started again" if report.retried else ""
    yield Row("errors", str(failed), (f"{share:.1%} of attempts, not scored" if failed else "") + retried)
    for kind, count in list(report.errors.items())[:3]:
        yield Row("", str(count), kind)
    if report.failed_tasks:
        shown = " ".join(report.failed_tasks[:5])
        more = f" and {len(report.failed_tasks) - 5} more" if len(report.failed_tasks) > 5 else ""
        yield Row("never solved", str(len(report.failed_tasks)), shown + more)
    notes = f"{report.setting.policy_notes}, " if report.setting.policy_notes else ""
    yield Row("how", "", f"{notes}seed {report.setting.seed}, {duration(report.seconds)}")
    if report.setting.command:
        yield Row("again", "", report.setting.command)


def plain(report: EvalReport) -> str:
    """Return the report as aligned text."""
    table = list(rows(report))
    names, values = max(len(row.name) for row in table), max(len(row.value) for row in table)
    lines = [title(report)]
    lines += [f"  {row.name:<{names}}  {row.value:>{values}}  {row.remark}".rstrip() for row in table]
    return "\n".join(lines) + "\n"


def markdown(report: EvalReport) -> str:
    """Return the report as a Markdown table."""
    lines = [f"**{_escaped(title(report))}**", "", "| | | |", "| --- | ---: | --- |"]
    lines += [
        f"| {' | '.join(_escaped(cell.strip()) for cell in (row.name, row.value, row.remark))} |"
        for row in rows(report)
    ]
    return "\n".join(lines) + "\n"


def table(report: EvalReport) -> RenderableType:
    """Return the report as a rich table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = Table(title=title(report), title_justify="left", box=box.SIMPLE_HEAD, show_header=False, title_style="bold")
    found.add_column(no_wrap=True, style="dim")
    found.add_column(no_wrap=True, justify="right", style="bold")
    found.add_column()
    for row in rows(report):
        style = "red" if row.name == "errors" and row.value != "0" else ""
        found.add_row(Text(row.name), Text(row.value, style=style), Text(row.remark))
    return found


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return "[one task: no interval]"
    return f"[{found.low:.3f}, {found.high:.3f}]"


def _percent_interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return "[one task: no interval]"
    return f"[{found.low:.1%}, {found.high:.1%}]  {found.count} attempts, 95 % interval"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
