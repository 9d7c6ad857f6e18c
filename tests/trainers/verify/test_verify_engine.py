"""The engine behind `agentrl credit verify`: what it calls ok, what it does not, and what it says of bad files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agentrl.errors import ConfigError
from agentrl_trainers.verify import Family, Verdict, _check, family, golden_paths, read_golden, verify_file
from agentrl_trainers.verify._difference import difference, partition_difference
from agentrl_trainers.verify._table import FAMILIES, family_name


def _golden(folder: Path, outputs: dict[str, Any], **head: Any) -> Path:
    path = folder / "made_up.json"
    path.write_text(json.dumps({"cases": [{"name": "s0", "inputs": {"x": [1.0, 2.0]}, "outputs": outputs}], **head}))
    return path


def _verdicts(
    monkeypatch: pytest.MonkeyPatch, path: Path, found: dict[str, Any] | Exception, bugs: dict[str, str] | None = None
) -> dict[str, Verdict]:
    def recompute(inputs: Any, wanted: Any) -> dict[str, Any]:
        if isinstance(found, Exception):
            raise found
        return {key: found[key] for key in wanted if key in found}

    monkeypatch.setattr(_check, "family", lambda stem: Family(stem, recompute, bugs or {}))
    return {finding.key: finding.verdict for finding in verify_file(read_golden(path))}


def test_nested_keys_are_joined_and_each_gets_its_own_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _golden(tmp_path, {"a|clip=0.2": {"loss": 1.0, "metrics": {"kl": 0.5, "ess": 0.25}}, "b": [1, 2]})
    found = {"a|clip=0.2": {"loss": 1.0 + 5e-7, "metrics": {"kl": 0.6}}, "b": torch.tensor([1.0, 2.0])}
    assert _verdicts(monkeypatch, path, found) == {
        "a|clip=0.2/loss": Verdict.OK,
        "a|clip=0.2/metrics/kl": Verdict.FAIL,
        "a|clip=0.2/metrics/ess": Verdict.UNSUPPORTED,
        "b": Verdict.OK,
    }


def test_tolerance_is_the_files_own_and_1e6_where_it_states_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = {"a": 0.5 + 8e-6}
    assert _verdicts(monkeypatch, _golden(tmp_path, {"a": 0.5}, tolerance=1e-5), off) == {"a": Verdict.OK}
    assert _verdicts(monkeypatch, _golden(tmp_path, {"a": 0.5}), off) == {"a": Verdict.FAIL}


@pytest.mark.parametrize(
    ("recorded", "found", "ok"),
    [
        ([[1.0], [2.0]], torch.tensor([1.0, 2.0]), False),  # a shape is never broadcast
        ([1.0, 1.0], 1.0, False),
        ([1.0, 1.0], [1.0], False),
        (["inf", "-inf", "nan"], torch.tensor([math.inf, -math.inf, math.nan]), True),
        (["inf"], [1e300], False),
        (["nan"], [0.0], False),
        (0.0, math.nan, False),
        ([True, False], torch.tensor([1, 0]), True),
        (None, None, True),
        (None, 0.0, False),
        ([{"low": 0.5}], [{"low": np.float32(0.5)}], True),
        ([{"low": 0.5}], [{"high": 0.5}], False),
        (3261.0, 3261.0 + 1e-4, True),  # relative beyond a magnitude of 1
        ("token", "token", True),
    ],
)
def test_values_are_equal_only_in_shape_kind_and_size(recorded: Any, found: Any, ok: bool) -> None:
    assert (difference(recorded, found).excess <= 1e-6) is ok


def test_a_partition_is_compared_by_its_pattern() -> None:
    assert partition_difference([5, 5, 2, 0], ["x", "x", "y", "z"]).error == 0
    assert partition_difference([5, 5, 2, 0], ["x", "y", "y", "z"]).error > 0
    assert partition_difference([5, 5, 2], ["x", "x"]).error == math.inf


def test_where_the_reference_raises_ours_must_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _golden(tmp_path, {"a": {"reference_raises": "ValueError('no')"}})
    key = "a/reference_raises"
    assert _verdicts(monkeypatch, path, ConfigError("no")) == {key: Verdict.OK}
    assert _verdicts(monkeypatch, path, {"a": {"loss": 1.0}}) == {key: Verdict.FAIL}
    # An accident is no refusal.
    assert _verdicts(monkeypatch, path, KeyError("loss")) == {key: Verdict.FAIL}
    assert _verdicts(monkeypatch, path, {"a": {"loss": 1.0}}, {"a/*": "why"}) == {key: Verdict.REFERENCE_BUG}


def test_an_error_of_ours_fails_that_output_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def recompute(inputs: Any, wanted: Any) -> dict[str, Any]:
        return {key: 1 / (key != "bad") for key in wanted}

    monkeypatch.setattr(_check, "family", lambda stem: Family(stem, recompute))
    findings = {finding.key: finding for finding in verify_file(read_golden(_golden(tmp_path, {"bad": 1, "good": 1})))}
    assert findings["bad"].verdict is Verdict.FAIL
    assert "ZeroDivisionError" in findings["bad"].note
    assert findings["good"].verdict is Verdict.OK


def test_a_reference_bug_that_we_reproduce_is_ok_otherwise_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _golden(tmp_path, {"x[1]|grad": 1.0})
    assert _verdicts(monkeypatch, path, {"x[1]|grad": 1.0}, {"x[1]*": "inverted"}) == {"x[1]|grad": Verdict.OK}
    assert _verdicts(monkeypatch, path, {}, {"x[1]*": "inverted"}) == {"x[1]|grad": Verdict.REFERENCE_BUG}


def test_a_bug_that_only_some_inputs_run_into_is_named_for_those_alone() -> None:
    """IGPO's reference loses a turn whose gain is its group's mean; a wrong figure of other inputs stays a failure."""
    igpo = family("igpo")
    assert igpo is not None and igpo.bug_of_inputs is not None
    inputs = {
        "token_level_rewards": [[0.5, 0.0, 1.0], [0.0, 0.0, 0.25]],
        "response_mask": [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
        "index": ["g", "g"],
        "turn_end_positions": [[0, 2], [2]],
    }
    key = "igpo_2026|mode=separate|std=True|gamma=0.5"
    assert "its normalised reward of 0" in (igpo.bug_of_inputs(inputs, key) or "")
    assert igpo.bug_of_inputs(inputs, key.replace("gamma=0.5", "gamma=1.0")) is None
    inputs["token_level_rewards"] = [[0.5, 0.0, 1.0], [0.125, 0.0, 0.25]]
    inputs["turn_end_positions"] = [[0, 2], [0, 2]]
    assert igpo.bug_of_inputs(inputs, key) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"made_up\.json:1:2: no valid JSON"),
        ("[]", "list of"),
        ('{"cases": []}', "empty"),
        ('{"cases": [{"inputs": {}}]}', r'cases\[0\] has no object "outputs"'),
        ('{"cases": [3]}', r"cases\[0\] is int"),
        ('{"cases": [{"inputs": {}, "outputs": {}}], "tolerance": "tight"}', "tolerance = 'tight'"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_the_place(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "made_up.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_golden(path)


def test_a_missing_file_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        golden_paths([tmp_path / "none.json"])
    with pytest.raises(ConfigError, match="without any"):
        golden_paths([tmp_path])


def test_a_file_of_an_unknown_family_is_unsupported_key_by_key(tmp_path: Path) -> None:
    findings = list(verify_file(read_golden(_golden(tmp_path, {"a": {"b": 1, "c": 2}}))))
    assert [(finding.key, finding.verdict) for finding in findings] == [
        ("a/b", Verdict.UNSUPPORTED),
        ("a/c", Verdict.UNSUPPORTED),
    ]


def test_a_family_is_found_by_the_name_of_the_file_and_by_longer_ones() -> None:
    assert all(family_name(name) == name for name in FAMILIES)
    assert family_name("gigpo_more") == "gigpo"
    assert family_name("held_out-igpo_info_gain-2") == "igpo_info_gain"
    assert family_name("xgigpox") is None
    assert family("nothing") is None
