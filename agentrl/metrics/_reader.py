"""Reading `metrics.jsonl`, also while a run writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrl.errors import ProtocolError

METRICS_NAME = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a metrics file.

    Attributes:
        rows: The objects, in file order.
        texts: The text of each row, without its line break.
        torn: What stands after the last line break, or an unreadable last line: a write that a crash cut short.
    """

    rows: tuple[dict[str, Any], ...]
    texts: tuple[str, ...]
    torn: str


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """Return the steps of a run in order, one dict each; [] where there are none yet.

    A torn last line is left out: the run is being written to, or was killed while writing.

    Raises:
        ProtocolError: A line before the last is no JSON object with a step; the message has its number.
    """
    return list(read_lines(Path(folder) / METRICS_NAME).rows)


def read_lines(path: Path) -> Lines:
    """Return the rows of a metrics file and what a crash left unfinished at its end."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Lines((), (), "")
    *whole, rest = content.decode("utf-8", errors="replace").split("\n")
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(whole, 1):
        row = _parse(text)
        if row is not None:
            rows.append(row)
        elif number == len(whole) and not rest:
            # A file system may keep the length of an interrupted write but not its bytes.
            return Lines(tuple(rows), tuple(whole[:-1]), text)
        else:
            raise ProtocolError(
                f"{path}, line {number}: expected a JSON object with a whole-number `step`, found {text[:60]!r};"
                " remove the line to go on"
            )
    return Lines(tuple(rows), tuple(whole), rest)


def _parse(text: str) -> dict[str, Any] | None:
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None
