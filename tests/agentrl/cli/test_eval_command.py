"""`agentrl eval`: environments and run files, experts, chance and models; mistakes named before anything is played."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentrl.cli import main
from agentrl.evaluation import EvalReport

DOUBLE = "agentrl.testing:CountdownDouble"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["eval", *arguments])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_expert_is_evaluated_and_reported_everywhere(tmp_path: Path) -> None:
    result = call(DOUBLE, "--policy", "oracle", "--limit", "6", "--json", "r.json", "--output", "out")
    assert result.exit_code == 0, result.output
    assert "success" not in result.stderr
    assert "6 tasks" in result.stdout
    report = EvalReport.from_json((tmp_path / "r.json").read_text())
    assert report.reward is not None
    assert report.scored == 6
    assert report.setting.versions["agentrl"]
    assert (tmp_path / "out" / "report.json").read_text() == (tmp_path / "r.json").read_text()
    assert (tmp_path / "out" / "report.md").read_text().startswith("**agentrl.testing:CountdownDouble")


def test_settings_of_the_environment_keep_their_types() -> None:
    result = call(DOUBLE, "--policy", "random", "--limit", "3", "--arg", "seconds_per_turn=0.001", "--seed", "5")
    assert result.exit_code == 0, result.output
    assert "uniform over the 2 actions the expert takes, seed 5" in result.stdout


def test_a_run_file_brings_environment_split_limit_and_limits() -> None:
    Path("run.toml").write_text(
        f"model = 'm'\nseed = 9\n[[env]]\nid = '{DOUBLE}'\nargs = {{seconds_per_turn = 0.0}}\n"
        "[eval]\nepisodes = 4\n[rollout]\nmax_turns = 1\n"
    )
    result = call("run.toml", "--policy", "oracle", "--json", "r.json")
    assert result.exit_code == 0, result.output
    report = EvalReport.from_json(Path("r.json").read_text())
    assert (report.setting.limit, report.setting.seed, report.setting.limits["max_turns"]) == (4, 9, 1)
    assert report.stop_reasons == {"max_turns": 4}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([DOUBLE], "no policy given; say who acts"),
        ([DOUBLE, "--policy", "nowhere"], "there is no such folder; expected a model"),
        ([DOUBLE, "--policy", "."], "holds no model: no config.json"),
        ([DOUBLE, "--policy", "oracle", "--split", "tset"], "no split 'tset'; it has train, test"),
        ([DOUBLE, "--policy", "oracle", "--arg", "level"], "expected NAME=VALUE"),
        ([DOUBLE, "--policy", "oracle", "--arg", "sconds_per_turn=1"], "seconds_per_turn"),
        ([DOUBLE, "--policy", "oracle", "--limit", "0"], "0 is not in the range"),
        ([DOUBLE, "--policy", "oracle", "--json", "nowhere/r.json"], "there is no folder nowhere"),
        (["run.toml", "--entry", "1"], "--entry 1: run.toml has 1 [[env]] sections"),
        (["run.toml"], "there is no such folder"),
    ],
)
def test_a_wrong_call_is_one_message(arguments: list[str], expected: str) -> None:
    Path("run.toml").write_text(f"model = 'm'\n[[env]]\nid = '{DOUBLE}'\n")
    result = call(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_an_environment_that_always_fails_is_a_failure_of_the_command() -> None:
    result = call(DOUBLE, "--policy", "oracle", "--limit", "2", "--arg", "fail_at_turn=0")
    assert result.exit_code == 1
    assert "no attempt could be scored" in result.stderr
    assert "asked to fail at turn 0" in result.stdout


def test_a_model_folder_acts_through_the_embedded_engine() -> None:
    pytest.importorskip("transformers")
    from agentrl_trainers.init_model import init_model

    init_model(
        Path("tiny"),
        ["value 1 down up stop over no; value 2 " * 40],
        hidden=32,
        layers=1,
        heads=2,
        kv_heads=1,
        vocab_size=300,
    )
    arguments = [DOUBLE, "--policy", "tiny", "--limit", "3", "--max-turns", "3", "--max-tokens", "6", "--slots", "3"]
    result = call(*arguments, "--json", "a.json", "--output", "out")
    assert result.exit_code == 0, result.output
    again = call(*arguments, "--json", "b.json")
    assert again.exit_code == 0
    one, two = (EvalReport.from_json(Path(name).read_text()) for name in ("a.json", "b.json"))
    assert [outcome.reward for outcome in one.outcomes] == [outcome.reward for outcome in two.outcomes]
    assert one.setting.model_hash is not None and len(one.setting.model_hash) == 12
    assert one.means["tokens"] > 0
    episodes = [json.loads(line) for line in Path("out/episodes.jsonl").read_text().splitlines()]
    assert len(episodes) == 3
    assert all(episode["prompt"] and episode["turns"] for episode in episodes)
