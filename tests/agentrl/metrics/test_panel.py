"""The panel: one line per step into a file, a redrawn table on a terminal, few drawings."""

from __future__ import annotations

import io

from agentrl.metrics import Panel, RunSnapshot
from agentrl.metrics._format import Smoothed, duration, si, sparkline


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def snapshot(step: int, **known: float) -> RunSnapshot:
    return RunSnapshot(step, success=0.25 * step, loss=-0.01, staleness_mean=0.5, staleness_max=2, **known)


def test_a_file_gets_one_aligned_line_per_step() -> None:
    stream, clock = io.StringIO(), Clock()
    with Panel(4, "train babyai", stream=stream, clock=clock) as panel:
        for step in (1, 1, 2):
            clock.now += 5
            panel.update(snapshot(step))
        panel.message("evaluated [bold]")
    title, first, second, message = stream.getvalue().splitlines()
    assert title == "train babyai: 4 steps"
    assert first.startswith("step=1/4  success=0.250")
    assert second.startswith("step=2/4")
    assert first.index("eta=") == second.index("eta=")
    assert "eta=15s" in first
    assert "in_flight=-" in first
    assert message == "evaluated [bold]"
    assert "\x1b" not in stream.getvalue()


def test_time_left_of_a_resumed_run_counts_its_own_steps_only() -> None:
    stream, clock = io.StringIO(), Clock()
    with Panel(100, "train", stream=stream, clock=clock) as panel:
        for step in (51, 52):
            clock.now += 10
            panel.update(RunSnapshot(step))
    assert "eta=8m00s" in stream.getvalue().splitlines()[-1]


def test_a_terminal_gets_the_figures() -> None:
    stream = Terminal()
    with Panel(4, "train babyai", stream=stream) as panel:
        panel.update(
            RunSnapshot(2, success=0.5, sampled_rate=12_345, in_flight=96, checkpoint="step 2", extra={"kl": 1})
        )
    shown = stream.getvalue()
    for part in ("train babyai", "step 2/4", "50.0%", "12.3k tok/s", "96", "step 2", "kl"):
        assert part in shown


def test_a_terminal_is_drawn_four_times_a_second_at_most() -> None:
    stream, clock = Terminal(), Clock()
    with Panel(1000, "train", stream=stream, clock=clock) as panel:
        drawn = []
        for step in range(100):
            clock.now += 0.01
            before = len(stream.getvalue())
            panel.update(RunSnapshot(step))
            drawn.append(len(stream.getvalue()) > before)
    assert sum(drawn) <= 5


def test_success_is_smoothed_from_the_first_value_on() -> None:
    smoothed = Smoothed(half_life=1)
    for value in (1.0, 0.0):
        smoothed.add(value)
    assert smoothed.value is not None
    assert abs(smoothed.value - 1 / 3) < 1e-12


def test_short_texts() -> None:
    assert [duration(seconds) for seconds in (5.4, 65, 7800)] == ["5s", "1m05s", "2h10m"]
    assert [si(value) for value in (999, 12_345, 2_500_000)] == ["999", "12.3k", "2.5M"]
    assert sparkline([0, 0.5, 1.0], 10) == "▁▅█"
    assert len(sparkline([0.5] * 200, 60)) == 60
    assert sparkline([], 10) == ""
