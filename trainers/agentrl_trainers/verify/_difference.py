"""How far a recomputed value is from the recorded one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@dataclass(frozen=True)
class Difference:
    """What a comparison found.

    Attributes:
        error: Largest absolute difference; infinite where values cannot be compared.
        excess: Largest difference in units of max(1, |recorded|), which is what the tolerance is for.
        reason: Why values cannot be compared (shape, kind), or "".
    """

    error: float = 0.0
    excess: float = 0.0
    reason: str = ""


def difference(recorded: Any, found: Any) -> Difference:
    """Compare element by element: numbers, booleans, "inf"/"-inf"/"nan", None, text, lists and objects of these.

    Two nan are equal, and so are equal infinities. A shape that differs is an infinite error, never broadcast.
    """
    return _compare(recorded, _plain(found), "")


def partition_difference(recorded: Any, found: Any) -> Difference:
    """Compare labels of rows, of which only the pattern matters: which rows share one."""
    ours = _plain(found)
    if not isinstance(recorded, list) or not isinstance(ours, list):
        return _unlike("a list of labels", ours, "")
    if len(recorded) != len(ours):
        return _mismatch(f"{len(ours)} labels for {len(recorded)} rows")
    pairs = list(zip(_first_places(recorded), _first_places(ours), strict=True))
    apart = sum(one != other for one, other in pairs)
    return Difference(float(apart), float(apart), f"{apart} of {len(pairs)} rows grouped otherwise" if apart else "")


def _compare(recorded: Any, found: Any, place: str) -> Difference:
    if isinstance(recorded, dict):
        if not isinstance(found, Mapping):
            return _unlike("an object", found, place)
        if set(map(str, found)) != set(recorded):
            return _mismatch(f"keys {sorted(map(str, found))} for {sorted(recorded)}{place}")
        return _worst(_compare(value, found[key], f"{place}/{key}") for key, value in recorded.items())
    if isinstance(recorded, list):
        if not isinstance(found, list):
            return _unlike(f"a list of {len(recorded)}", found, place)
        if len(recorded) != len(found):
            return _mismatch(f"length {len(found)} for {len(recorded)}{place}")
        pairs = zip(recorded, found, strict=True)
        return _worst(_compare(one, other, f"{place}[{index}]") for index, (one, other) in enumerate(pairs))
    expected, ours = _number(recorded), _number(found)
    if expected is None or ours is None:
        same = expected is None and ours is None and recorded == found
        return Difference() if same else _unlike(repr(recorded), found, place)
    if expected == ours or (math.isnan(expected) and math.isnan(ours)):
        return Difference()
    error = abs(expected - ours)
    if not math.isfinite(error):
        return _unlike(repr(recorded), found, place)
    return Difference(error, error / max(1.0, abs(expected)))


def _worst(differences: Iterable[Difference]) -> Difference:
    error, excess, reason = 0.0, 0.0, ""
    for one in differences:
        error, excess, reason = max(error, one.error), max(excess, one.excess), reason or one.reason
    return Difference(error, excess, reason)


def _plain(value: Any) -> Any:
    """Return tensors and arrays as nested lists, tuples as lists."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _SPECIAL.get(value)
    return float(value) if isinstance(value, bool | int | float) else None


def _first_places(labels: list[Any]) -> list[int]:
    first: dict[Any, int] = {}
    return [first.setdefault(label, place) for place, label in enumerate(labels)]


def _mismatch(reason: str) -> Difference:
    return Difference(math.inf, math.inf, reason)


def _unlike(expected: str, found: Any, place: str) -> Difference:
    shown = repr(found)
    return _mismatch(f"{shown[:60]}{'…' if len(shown) > 60 else ''} for {expected}{place}")
