"""Recomputes the figures of golden files by training's own functions and says which come out."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from agentrl.errors import AgentRLError
from agentrl_trainers.verify._difference import difference, partition_difference
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify._golden import GoldenCase, GoldenFile
from agentrl_trainers.verify._table import family

RAISES = "reference_raises"
"""Key of an output for which the reference raised an error; its value is the message."""
PARTITION = "_partition"
"""End of the keys whose values are labels."""


class Verdict(enum.StrEnum):
    """What became of one key."""

    OK = "ok"
    """Within the tolerance, or refused where the reference refuses."""
    FAIL = "FAIL"
    """Another value, another shape, or an error where the reference had none."""
    UNSUPPORTED = "unsupported"
    """Nothing here recomputes it."""
    REFERENCE_BUG = "reference-bug"
    """What was recorded is a mistake of the reference, which is not reproduced."""

    @property
    def bad(self) -> bool:
        """Whether it makes the verification fail."""
        return self in (Verdict.FAIL, Verdict.UNSUPPORTED)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        file: The golden file.
        case: Name of the case.
        key: Key of the output, nested keys joined by "/".
        error: Largest absolute error; infinite where shapes or kinds differ, nan where nothing was compared.
        verdict: What became of it.
        note: Why, where it is not simply ok.
    """

    file: Path
    case: str
    key: str
    error: float
    verdict: Verdict
    note: str = ""


def verify_file(golden: GoldenFile) -> Iterator[Finding]:
    """Yield a finding for every output of a golden file, in its order."""
    known = family(golden.path.stem)
    for case in golden.cases:
        for key, recorded in case.outputs.items():
            yield from _verify_output(golden, case, key, recorded, known)


def _verify_output(
    golden: GoldenFile, case: GoldenCase, key: str, recorded: Any, known: Family | None
) -> Iterator[Finding]:
    # One output at a time: an error in one says nothing about the others, and none can read another's figure.
    leaves = dict(_leaves(recorded, key))
    if known is None:
        for name in leaves:
            note = f"no family of golden figures for a file called {golden.path.name}"
            yield Finding(golden.path, case.name, name, math.nan, Verdict.UNSUPPORTED, note)
        return
    found: dict[str, Any] = {}
    failure: Exception | None = None
    try:
        found = dict(_leaves_of(known.recompute(case.inputs, {key: recorded}), leaves))
    except Exception as raised:  # Whatever a recomputation raises is its finding, judged below.
        failure = raised
    for name, value in leaves.items():
        error, verdict, note = _judge(name, value, found, failure, golden.tolerance)
        if verdict.bad and (bug := _bug(known, name, case.inputs, key)) is not None:
            verdict, note = Verdict.REFERENCE_BUG, bug
        yield Finding(golden.path, case.name, name, error, verdict, note)


def _judge(
    name: str, recorded: Any, found: Mapping[str, Any], failure: Exception | None, tolerance: float
) -> tuple[float, Verdict, str]:
    should_raise = name.split("/")[-1] == RAISES
    if failure is not None:
        told = f"{type(failure).__name__}: {failure}"
        if should_raise and isinstance(failure, AgentRLError):
            return 0.0, Verdict.OK, f"refused as by the reference: {told}"
        return math.inf, Verdict.FAIL, told
    if should_raise and name not in found:
        return math.nan, Verdict.FAIL, f"the reference raises an error, this does not: {recorded}"
    if name not in found:
        return math.nan, Verdict.UNSUPPORTED, "not recomputed by the family"
    compare = partition_difference if name.endswith(PARTITION) else difference
    result = compare(recorded, found[name])
    return result.error, Verdict.OK if result.excess <= tolerance else Verdict.FAIL, result.reason


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the innermost values by their keys joined by "/"."""
    if isinstance(value, Mapping) and value:
        for inner, nested in value.items():
            yield from _leaves(nested, f"{key}/{inner}")
    else:
        yield key, value


def _leaves_of(outputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield those of the recomputed values that were recorded, whatever else there is."""
    for key, value in outputs.items():
        for name, leaf in _leaves(value, str(key)):
            if name in wanted:
                yield name, leaf


def _bug(known: Family, name: str, inputs: Mapping[str, Any], key: str) -> str | None:
    for pattern, reason in known.reference_bugs.items():
        # Brackets in keys are no character classes: only * and ? are wild.
        if fnmatchcase(name, pattern.replace("[", "[[]")):
            return reason
    return known.bug_of_inputs(inputs, key) if known.bug_of_inputs is not None else None
