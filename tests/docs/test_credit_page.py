"""docs/credit.md: its tables list what there is, and its example of an own method runs as it stands there."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
from pathlib import Path

import pytest
import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit import COMPOSITIONS, Composition, CreditBatch, assign, check, composition, register
from agentrl_trainers.objectives import OBJECTIVES

PAGE = (Path(__file__).parents[2] / "docs" / "credit.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def _names(heading: str) -> list[str]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)`", section, flags=re.MULTILINE)


@pytest.fixture
def my_credit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_credit.py").write_text(_blocks("python")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def test_every_method_and_objective_is_in_its_table() -> None:
    assert sorted(_names("Credit methods")) == sorted(COMPOSITIONS)
    assert sorted(_names("Objectives")) == sorted(OBJECTIVES)


def test_options_of_the_first_example_exist() -> None:
    trainer = tomllib.loads(_blocks("toml")[0])["trainer"]
    assert set(trainer["credit_options"]) <= composition(trainer["credit"]).options()
    assert trainer["objective"] in OBJECTIVES


@pytest.mark.usefixtures("my_credit")
def test_the_own_method_gives_what_the_page_says() -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(_blocks("python")[1], "docs/credit.md", "exec"), {})
    said = [line.removeprefix("# ") for line in _blocks("python")[1].splitlines() if line.startswith("# tensor")]
    assert printed.getvalue().splitlines() == said


@pytest.mark.usefixtures("my_credit")
def test_a_run_file_may_name_it_with_its_options() -> None:
    trainer = tomllib.loads(_blocks("toml")[1])["trainer"]
    check(trainer["credit"], available=(), options=trainer["credit_options"])
    with pytest.raises(ConfigError, match="did you mean 'horizon'"):
        check(trainer["credit"], available=(), options=["horzon"])
    with pytest.raises(ConfigError, match="did you mean 'turn_baseline'"):
        composition("my_credit.py:turn_base")


@pytest.mark.usefixtures("my_credit")
def test_it_is_whitened_over_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    count = 6
    reward_T = torch.rand(2 * count, generator=generator)
    batch = CreditBatch(
        group_N=torch.arange(count) // 3,
        reward_N=reward_T.view(count, 2).sum(1),
        trajectory_T=torch.arange(2 * count) // 2,
        turn_T=torch.arange(2 * count) % 2,
        reward_T=reward_T,
        anchor_T=torch.full((2 * count,), -1),
        valid_T=torch.ones(2 * count, dtype=torch.bool),
        turn_K=torch.arange(2 * count),
        finished_N=torch.ones(count, dtype=torch.bool),
    )
    advantage_K = assign("my_credit.py:whitened", batch)
    assert advantage_K.mean().item() == pytest.approx(0, abs=1e-6)
    assert advantage_K.std().item() == pytest.approx(1, abs=1e-4)


def test_a_registered_method_is_known_by_its_name_and_cannot_hide_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrl_trainers.credit._compositions.COMPOSITIONS", dict(COMPOSITIONS))
    mine = Composition(lambda batch: batch.reward_N)
    register("mine", mine)
    assert composition("mine") is mine
    with pytest.raises(ConfigError, match="'grpo' is there already"):
        register("grpo", mine)
