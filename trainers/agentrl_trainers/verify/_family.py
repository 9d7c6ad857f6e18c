"""A family of golden figures and how training's own functions recompute them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Recompute = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
"""`f(inputs, wanted) -> outputs`: recompute a case.

`inputs` is `cases[i].inputs`; `wanted` is `cases[i].outputs`, of which only the *keys* may be used: they name the
options ("empg|k=2.0|kf=0.5|zeta=0.2"). The result has the same nesting of keys; a leaf is a number, a string, None, or
an array or tensor of the recorded shape. A key that is left out is reported as unsupported.
"""


BugOfInputs = Callable[[Mapping[str, Any], str], str | None]
"""`f(inputs, key) -> reason`: whether these very inputs run into a bug of the reference for this output key."""


@dataclass(frozen=True)
class Family:
    """One golden file's kind.

    Attributes:
        name: Stem of the file, e.g. "gigpo".
        recompute: Recomputes a case by the functions that training uses.
        reference_bugs: Reason by output key (`fnmatch` pattern over the keys joined by "/"), where algorithms.md calls
            what the reference did a bug of its own.
        bug_of_inputs: The same, where only some inputs run into it, or None.
    """

    name: str
    recompute: Recompute
    reference_bugs: Mapping[str, str] = field(default_factory=dict)
    bug_of_inputs: BugOfInputs | None = None
