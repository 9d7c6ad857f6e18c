"""What the quickstart shows at its end: a table with intervals and a curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agentrl.errors import PrerequisiteError
from agentrl.metrics import read_metrics


@dataclass(frozen=True, slots=True)
class Measured:
    """Success of one policy on held-out seeds of one level, with its 95 % interval."""

    level: str
    policy: str
    success: float
    low: float
    high: float
    episodes: int

    def text(self) -> str:
        """Return success and interval in per cent."""
        return f"{self.success:6.1%}  [{self.low:.1%}, {self.high:.1%}]"


def show_table(measured: Sequence[Measured], console: Console) -> None:
    """Print all evaluations and, per level, what was gained."""
    table = Table(title="success on held-out seeds, 95 % interval", title_justify="left")
    for name in ("level", "policy", "success", "episodes"):
        table.add_column(name, justify="right" if name == "episodes" else "left")
    for row in measured:
        table.add_row(row.level, row.policy, row.text(), str(row.episodes))
    console.print(table)
    for level in dict.fromkeys(row.level for row in measured):
        before, *_, after = [row for row in measured if row.level == level]
        apart = "intervals apart" if after.low > before.high else "intervals overlap"
        console.print(f"{level}: {(after.success - before.success) * 100:+.1f} points by RL, {apart}")


def save_figures(measured: Sequence[Measured], path: Path) -> None:
    """Write all evaluations as JSON."""
    path.write_text(json.dumps([asdict(row) for row in measured], indent=2) + "\n", encoding="utf-8")


def draw_curve(runs: Sequence[tuple[str, Path]], path: Path) -> None:
    """Draw the success rate of training episodes over steps, one line per run, as a PNG.

    Raises:
        PrerequisiteError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise PrerequisiteError("drawing the curve needs matplotlib", "pip install 'agentrl[train]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for label, folder in runs:
        rows = [row for row in read_metrics(folder) if row.get("success") is not None]
        axes.plot([row["step"] for row in rows], [row["success"] for row in rows], label=label)
    axes.set(xlabel="optimizer step", ylabel="success of training episodes", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
