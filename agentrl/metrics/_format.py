"""Figures as short texts. Pure functions, for the panel and the lines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentrl.metrics._snapshot import RunSnapshot

BARS = "▁▂▃▄▅▆▇█"


@dataclass
class Smoothed:
    """An exponential moving average that starts unbiased, with its history.

    Attributes:
        half_life: Values after which the weight of one has halved.
        value: The average, or None before the first value.
        history: The average after each value.
    """

    half_life: float = 3.0
    value: float | None = None
    history: list[float] = field(default_factory=list)
    _weight: float = 0.0

    def add(self, value: float) -> None:
        """Take in a value."""
        decay = 0.5 ** (1 / self.half_life)
        total = (self.value or 0.0) * self._weight * decay + value
        self._weight = self._weight * decay + 1
        self.value = total / self._weight
        self.history.append(self.value)


def sparkline(values: Sequence[float], width: int) -> str:
    """Return values in 0..1 as a row of bars, the newest on the right; longer histories are averaged to the width."""
    count = len(values)
    columns = min(width, count)
    cuts = [round(index * count / columns) for index in range(columns + 1)] if columns else []
    means = [sum(values[low:high]) / (high - low) for low, high in itertools.pairwise(cuts)]
    return "".join(BARS[min(len(BARS) - 1, max(0, int(mean * len(BARS))))] for mean in means)


def duration(seconds: float) -> str:
    """Return a time as people say it: 42s, 3m05s, 2h10m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def si(value: float) -> str:
    """Return a count with three significant digits and k or M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def plain_line(snapshot: RunSnapshot, total: int, success: float | None, eta: float | None) -> str:
    """Return a step as one line of aligned key=value pairs, the same keys in the same order at every step."""
    width = len(str(total))
    pairs = [f"step={snapshot.step:>{width}}/{total}"]

    def put(name: str, text: str | None, columns: int) -> None:
        pairs.append(f"{name}={text if text is not None else '-':<{columns}}")

    def number(value: float | None, form: str) -> str | None:
        return None if value is None else format(value, form)

    put("success", number(success, ".3f"), 5)
    put("reward", number(snapshot.reward, ".3f"), 6)
    put("sampled", None if snapshot.sampled_rate is None else f"{si(snapshot.sampled_rate)}/s", 7)
    put("trained", None if snapshot.trained_rate is None else f"{si(snapshot.trained_rate)}/s", 7)
    put("stale", number(snapshot.staleness_mean, ".2f"), 4)
    put("stale_max", number(snapshot.staleness_max, "g"), 2)
    put("in_flight", number(snapshot.in_flight, "d"), 4)
    put("errors", f"{snapshot.errors}/{snapshot.retries}r", 6)
    put("entropy", number(snapshot.entropy, ".3f"), 5)
    put("loss", number(snapshot.loss, "+.4f"), 8)
    put("step_time", None if snapshot.step_seconds is None else f"{snapshot.step_seconds:.1f}s", 6)
    put("eta", None if eta is None else duration(eta), 6)
    pairs += [f"{name}={value:.4g}" for name, value in snapshot.extra.items()]
    if snapshot.checkpoint is not None:
        pairs.append(f"checkpoint={snapshot.checkpoint}")
    return "  ".join(pairs).rstrip()
