"""The quickstart goes through all its stages and leaves what it promises; how far it learns is measured, not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentrl.cli import main
from agentrl.errors import ConfigError
from agentrl.metrics import read_metrics
from agentrl_trainers.quickstart import quickstart


@pytest.mark.slow
def test_every_stage_runs_and_the_figures_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "quick"
    arguments = ["quickstart", "--output", str(folder), "--steps", "2", "--harder-steps", "1", "--held-out", "6"]
    main(arguments, standalone_mode=False)
    rows = json.loads((folder / "quickstart.json").read_text(encoding="utf-8"))
    assert [(row["level"], row["policy"]) for row in rows] == [
        ("GoToObj", "warm start"),
        ("GoToObj", "after RL"),
        ("GoToRedBall", "before"),
        ("GoToRedBall", "after RL"),
    ]
    assert all(row["episodes"] == 6 and row["low"] <= row["success"] <= row["high"] for row in rows)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [line["step"] for line in read_metrics(folder / "train")] == [1, 2]
    said = capsys.readouterr().out
    assert "held-out seeds" in said
    assert "Look at next" in said


def test_what_an_earlier_quickstart_made_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="--overwrite"):
        quickstart(tmp_path)
    assert (tmp_path / "kept").read_text(encoding="utf-8") == "mine"
