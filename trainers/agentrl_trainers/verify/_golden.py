"""Golden files: figures that a reference implementation gave for known inputs, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrl.errors import ConfigError

DEFAULT_TOLERANCE = 1e-6
"""Of a file that states none. Figures are float64; files whose reference computed in float32 state their own."""

_DESCRIPTIVE = {"description", "reference", "torch", "default_dtype", "conventions", "notes", "tolerance", "cases"}


@dataclass(frozen=True)
class GoldenCase:
    """One set of inputs and what the reference made of it.

    Attributes:
        name: Unique in its file.
        inputs: Arguments, with what the file's head says for all its cases.
        outputs: Figures by key; a value may be a dict of further keys.
    """

    name: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


@dataclass(frozen=True)
class GoldenFile:
    """A golden file as read.

    Attributes:
        path: Where it is.
        tolerance: Largest error of a figure, absolute up to a magnitude of 1 and relative beyond.
        cases: In the order of the file.
    """

    path: Path
    tolerance: float
    cases: tuple[GoldenCase, ...]


def golden_paths(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are meant: each file itself, and every `*.json` of a folder in the order of names.

    Raises:
        ConfigError: A path is not there, or a folder holds no JSON file.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not path.exists() or not inside:
            lack = "is a folder without any *.json" if path.is_dir() else "is not there"
            raise ConfigError(f"{path} {lack}; expected golden files in JSON or a folder of them")
        found.extend(inside)
    return found


def read_golden(path: Path) -> GoldenFile:
    """Read a golden file.

    Raises:
        ConfigError: It cannot be read, is no JSON, or has another form; the message names the place.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: no valid JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: no UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(content, dict) or not isinstance(content.get("cases"), list):
        raise ConfigError(f'{path}: expected an object with a list of "cases"')
    common = {key: value for key, value in content.items() if key not in _DESCRIPTIVE}
    cases = tuple(_case(path, index, case, common) for index, case in enumerate(content["cases"]))
    if not cases:
        raise ConfigError(f"{path}: the list of cases is empty")
    return GoldenFile(path, _tolerance(path, content.get("tolerance")), cases)


def _case(path: Path, index: int, case: Any, common: dict[str, Any]) -> GoldenCase:
    place = f"{path}: cases[{index}]"
    if not isinstance(case, dict):
        raise ConfigError(f"{place} is {type(case).__name__}; expected an object with inputs and outputs")
    for part in ("inputs", "outputs"):
        if not isinstance(case.get(part), dict):
            raise ConfigError(f'{place} has no object "{part}"')
    return GoldenCase(str(case.get("name", index)), {**common, **case["inputs"]}, case["outputs"])


def _tolerance(path: Path, stated: Any) -> float:
    if stated is None:
        return DEFAULT_TOLERANCE
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not math.isfinite(stated) or stated < 0:
        raise ConfigError(f"{path}: tolerance = {stated!r}; expected a number, 0 or more")
    return float(stated)
