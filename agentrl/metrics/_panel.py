"""The live panel of a run on a terminal, and plain lines where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from agentrl.metrics._format import Smoothed, duration, plain_line, si, sparkline
from agentrl.metrics._snapshot import RunSnapshot

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

REFRESH_SECONDS = 0.25
"""Shortest time between two drawings: the panel shares its cores with training."""


class Panel:
    """Shows how a run goes: a table that redraws itself on a terminal, one line per step elsewhere.

    It draws when told something new and never on a timer of its own, so it costs nothing between steps.

    Args:
        total_steps: Steps the run will have at its end.
        title: What is being run.
        start_step: Steps done before this process began; by default those before the first snapshot's.
        stream: Where to write; standard output by default.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        total_steps: int,
        title: str,
        *,
        start_step: int | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._title, self._start = total_steps, title, start_step
        self._stream = stream or sys.stdout
        self._clock = clock
        self._began = clock()
        self._drawn = float("-inf")
        self._success = Smoothed()
        self._snapshot: RunSnapshot | None = None
        self._printed_step = -1
        self._console: Console | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._began = self._clock()
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._console = Console(file=self._stream)
            # A dumb terminal cannot be redrawn; it gets lines.
            if self._console.is_terminal and not self._console.is_dumb_terminal:
                self._live = Live(console=self._console, auto_refresh=False, transient=False)
                self._live.start()
        if self._live is None:
            self._write(f"{self._title}: {self._total} steps")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            if self._snapshot is not None:
                self._live.update(self._render(self._snapshot), refresh=True)
            self._live.stop()
            self._live = None

    def update(self, snapshot: RunSnapshot) -> None:
        """Show a new state of the run; may be called as often as convenient."""
        if self._start is None:
            self._start = snapshot.step - 1
        is_new_step = self._snapshot is None or snapshot.step > self._snapshot.step
        if is_new_step and snapshot.success is not None:
            self._success.add(snapshot.success)
        self._snapshot = snapshot
        if self._live is None:
            if snapshot.step > self._printed_step:
                self._printed_step = snapshot.step
                self._write(plain_line(snapshot, self._total, self._success.value, self._eta(snapshot)))
            return
        now = self._clock()
        if now - self._drawn >= REFRESH_SECONDS:
            self._drawn = now
            self._live.update(self._render(snapshot), refresh=True)

    def message(self, text: str) -> None:
        """Show a line above the panel that stays."""
        if self._live is not None and self._console is not None:
            self._console.print(text, markup=False, highlight=False)
        else:
            self._write(text)

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def _eta(self, snapshot: RunSnapshot) -> float | None:
        """Return the seconds left at the pace of this process so far."""
        done = snapshot.step - (self._start or 0)
        if done <= 0:
            return None
        return (self._clock() - self._began) / done * max(0, self._total - snapshot.step)

    def _render(self, snapshot: RunSnapshot) -> RenderableType:
        from rich import box
        from rich.console import Group
        from rich.panel import Panel as Frame
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        eta = self._eta(snapshot)
        elapsed = duration(self._clock() - self._began)
        head = Table.grid(padding=(0, 2), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True, justify="right")
        head.add_row(
            f"step {snapshot.step}/{self._total}",
            ProgressBar(total=max(1, self._total), completed=snapshot.step),
            f"{elapsed} gone" + ("" if eta is None else f", {duration(eta)} left"),
        )
        body = Table.grid(padding=(0, 3))
        columns = 3 if self._console is None or self._console.width >= 110 else 2
        for _ in range(columns):
            body.add_column(style="dim", no_wrap=True)
            body.add_column(no_wrap=True, min_width=12)
        cells = _cells(snapshot, self._success)
        for row in range(0, len(cells), columns):
            body.add_row(*(text for cell in cells[row : row + columns] for text in cell))
        parts: list[RenderableType] = [head, Text(""), body]
        if self._success.history:
            parts += [Text(""), Text.assemble(("success  ", "dim"), (sparkline(self._success.history, 60), "green"))]
        return Frame(Group(*parts), title=self._title, title_align="left", box=box.ROUNDED, padding=(0, 1))


def _cells(snapshot: RunSnapshot, success: Smoothed) -> list[tuple[str, str]]:
    """Return the name and the text of every figure that is known."""
    cells: list[tuple[str, str]] = []

    def put(name: str, text: str | None) -> None:
        if text is not None:
            cells.append((name, text))

    put("success", None if success.value is None else f"{success.value:.1%}")
    put("reward", None if snapshot.reward is None else f"{snapshot.reward:.3f}")
    put("in flight", None if snapshot.in_flight is None else str(snapshot.in_flight))
    put("sampled", None if snapshot.sampled_rate is None else f"{si(snapshot.sampled_rate)} tok/s")
    put("trained", None if snapshot.trained_rate is None else f"{si(snapshot.trained_rate)} tok/s")
    if snapshot.staleness_mean is not None and snapshot.staleness_max is not None:
        put("staleness", f"{snapshot.staleness_mean:.2f} mean, {snapshot.staleness_max:g} max")
    put("loss", None if snapshot.loss is None else f"{snapshot.loss:.4g}")
    put("entropy", None if snapshot.entropy is None else f"{snapshot.entropy:.3f}")
    put("errors", f"{snapshot.errors} ({snapshot.retries} retried)")
    put("step time", None if snapshot.step_seconds is None else f"{snapshot.step_seconds:.1f} s")
    put("checkpoint", snapshot.checkpoint)
    for name, value in snapshot.extra.items():
        put(name.replace("_", " "), f"{value:.4g}")
    return cells
