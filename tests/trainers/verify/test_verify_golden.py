"""Every golden figure in the repository comes out of training's own functions, and of the inputs alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agentrl_trainers.verify import Verdict, family, read_golden, verify_file
from agentrl_trainers.verify._check import RAISES, _leaves
from agentrl_trainers.verify._difference import difference

GOLDEN = Path(__file__).parents[2] / "golden"
FILES = sorted(GOLDEN.glob("*.json"))
RECORDED_INPUTS = {
    "remax/reward_baselines",
    "optimal_token_baseline/old_log_probs",
    "optimal_token_baseline/sum_pi_squared",
    "prox_approx|current_version=6/versions",
}
"""Inputs of a method that its golden file keeps among the outputs."""
NUMBER = re.compile(r"(?<=[=_,])\d+\.\d+")


def _written(path: Path) -> None:
    # Branching is the rollout's: whether it has a family yet is no matter of credit.
    if path.stem == "arpo_rollout" and family(path.stem) is None:
        pytest.skip("nothing here replays ARPO's rollouts")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_figure_is_recomputed(path: Path) -> None:
    _written(path)
    bad = [finding for finding in verify_file(read_golden(path)) if finding.verdict.bad]
    assert not bad, "\n".join(f"{finding.case} {finding.key}: {finding.verdict} {finding.note}" for finding in bad[:5])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_figures_come_from_inputs_never_from_the_recorded_outputs(path: Path) -> None:
    _written(path)
    known = family(path.stem)
    assert known is not None
    for case in read_golden(path).cases:
        for key, recorded in case.outputs.items():
            if key == "overlong" or RAISES in str(recorded):  # its inputs are recorded among the outputs
                continue
            seen = dict(_leaves(known.recompute(case.inputs, {key: recorded})[key], key))
            unseen = dict(_leaves(known.recompute(case.inputs, {key: _blank(recorded, key)})[key], key))
            for name, value in seen.items():
                assert difference(_json(value), unseen[name]).error == 0, (
                    f"{case.name} {name} depends on what it checks"
                )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_options_are_read_from_the_keys(path: Path) -> None:
    """Other hyper-parameters in a key are other options, not an unknown key."""
    _written(path)
    known = family(path.stem)
    assert known is not None
    case = read_golden(path).cases[0]
    for key, recorded in case.outputs.items():
        other = NUMBER.sub(lambda found: str(round(float(found[0]) * 0.9, 4)), key)
        if other == key or RAISES in str(recorded):
            continue
        found = dict(_leaves(known.recompute(case.inputs, {other: recorded})[other], other))
        missing = set(dict(_leaves(recorded, other))) - set(found)
        assert not missing, f"nothing recomputes {sorted(missing)[:3]}"


def _blank(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {inner: _blank(nested, f"{key}/{inner}") for inner, nested in value.items()}
    return value if key in RECORDED_INPUTS else None


def _json(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def test_a_wrong_figure_is_found() -> None:
    path = GOLDEN / "verl_kl_estimators.json"
    golden = read_golden(path)
    outputs: dict[str, Any] = dict(golden.cases[0].outputs)
    key, value = next(iter(outputs.items()))
    name, leaf = next(iter(_leaves(value, key)))
    row = leaf
    while isinstance(row[0], list):
        row = row[0]
    row[0] += 1e-3
    first = golden.cases[0].name
    verdicts = {finding.key: finding.verdict for finding in verify_file(golden) if finding.case == first}
    assert verdicts[name] is Verdict.FAIL
