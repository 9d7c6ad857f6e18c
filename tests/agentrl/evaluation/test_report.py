"""A report counts errors apart, never as failures, and says the same on screen, on paper and in JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from agentrl.errors import ProtocolError
from agentrl.evaluation import EvalReport, EvalSetting, Outcome, markdown, plain, table
from agentrl.trajectory import Status, StopReason


def setting(**changes: Any) -> EvalSetting:
    base = {"env": "babyai", "policy": "models/tiny", "split": "test", "limit": 4, "attempts": 1, "seed": 3}
    return EvalSetting(**{**base, **changes})


def outcome(task: str, reward: float | None, attempt: int = 0, **changes: Any) -> Outcome:
    base: dict[str, Any] = {
        "task_id": task,
        "attempt": attempt,
        "reward": reward,
        "success": None if reward is None else reward > 0.5,
        "parts": {"exact": reward},
        "status": Status.OK,
        "stop_reason": StopReason.COMPLETED,
        "turns": 4,
        "tokens": 20,
        "seconds": 0.5,
    }
    return Outcome(**{**base, **changes})


def failed(task: str, error: str = "environment babyai, task t, step of turn 1: boom") -> Outcome:
    return outcome(task, None, status=Status.ERROR, stop_reason=StopReason.ENV_ERROR, error=error, turns=1)


def test_errors_are_counted_apart_and_never_scored_zero() -> None:
    report = EvalReport.from_outcomes([outcome("a", 1.0), outcome("b", 0.0), failed("c"), failed("d")], setting())
    assert report.success is not None and report.reward is not None
    assert (report.success.mean, report.success.count, report.reward.mean) == (0.5, 2, 0.5)
    assert report.scored == 2
    assert sum(report.errors.values()) == 2
    assert report.stop_reasons == {"completed": 2}
    assert report.means["turns"] == 4
    assert report.failed_tasks == ("b",)
    text = plain(report)
    assert "50.0% of attempts, not scored" in text
    assert "boom" in text


def test_an_unscored_part_is_left_out_of_its_mean() -> None:
    outcomes = [outcome("a", 1.0, parts={"exact": 1.0, "style": None}), outcome("b", 0.0, parts={"style": 0.25})]
    report = EvalReport.from_outcomes(outcomes, setting())
    assert (report.parts["exact"].mean, report.parts["style"].mean) == (1.0, 0.25)
    assert "scored in 1 of 2" in plain(report)


def test_pass_at_k_over_several_attempts() -> None:
    rewards = {"a": [1, 1, 0, 0], "b": [0, 0, 0, 0]}
    outcomes = [outcome(task, value, place) for task, row in rewards.items() for place, value in enumerate(row)]
    report = EvalReport.from_outcomes(outcomes, setting(attempts=4))
    assert report.pass_at == {2: pytest.approx((1 - 1 / 6) / 2), 4: pytest.approx(0.5)}
    assert report.pass_all == {2: pytest.approx(1 / 12), 4: 0}
    assert "pass@4" in plain(report)


def test_rewards_of_zero_and_one_say_what_success_is() -> None:
    outcomes = [outcome(task, reward, success=None) for task, reward in (("a", 1.0), ("b", 0.0), ("c", 1.0))]
    report = EvalReport.from_outcomes(outcomes, setting())
    assert report.success is not None
    assert report.success.mean == pytest.approx(2 / 3)
    graded = [outcome("a", 0.4, success=None), outcome("b", 1.0, success=None)]
    assert EvalReport.from_outcomes(graded, setting()).success is None


def test_categories_are_shown_where_there_are_several() -> None:
    outcomes = [outcome("a", 1.0, category="easy"), outcome("b", 0.0, category="hard")]
    report = EvalReport.from_outcomes(outcomes, setting())
    assert {name: part.mean for name, part in report.categories.items()} == {"easy": 1.0, "hard": 0.0}
    assert EvalReport.from_outcomes(outcomes[:1], setting()).categories == {}


def test_the_same_rows_everywhere() -> None:
    command = "agentrl eval babyai --policy 'a|b'"
    report = EvalReport.from_outcomes([outcome("a", 1.0), outcome("b", 0.0)], setting(command=command))
    screen = io.StringIO()
    Console(file=screen, width=200).print(table(report))
    paper = markdown(report)
    for words in ("50.0%", "4.0 turns", "20 tokens", "completed 2", "seed 3", "agentrl eval babyai"):
        assert words in screen.getvalue()
        assert words in plain(report)
        assert words in paper
    assert "'a\\|b'" in paper
    rows = [line for line in paper.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {4}


def test_json_reads_back_to_the_same_report() -> None:
    outcomes = [outcome("a", 1.0, category="x"), failed("b")]
    report = EvalReport.from_outcomes(outcomes, setting(model_hash="0123"), seconds=1.5, retried=1)
    data = json.loads(report.to_json())
    assert data["summary"]["success"]["mean"] == 1.0
    assert data["setting"]["model_hash"] == "0123"
    assert EvalReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "outcomes": [{}], "setting": {}}'])
def test_other_json_is_refused_in_words(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"report\.json"):
        EvalReport.from_json(text, "report.json")
