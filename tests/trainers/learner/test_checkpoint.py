"""Checkpoints: bit-equal resumption, and what a user is told when one cannot be read or written."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from agentrl.config import TrainerSection
from agentrl.errors import ConfigError, StoreError
from agentrl_trainers.learner import (
    Learner,
    Row,
    checkpoints,
    load_checkpoint,
    load_model,
    make_rows,
    prune_checkpoints,
    save_checkpoint,
)

SECTION = TrainerSection(lr=1e-2, threads=1, minibatches=2, warmup_steps=3)


@pytest.fixture
def rows(make_trajectory) -> list[Row]:
    trajectories = [make_trajectory(f"t{index}", (3, 2)) for index in range(5)]
    return make_rows(trajectories, torch.randn(25, generator=torch.Generator().manual_seed(1)))


def test_a_resumed_run_takes_the_very_steps_of_an_uninterrupted_one(tiny_model: Path, tmp_path: Path, rows) -> None:
    whole = Learner(tiny_model, SECTION, seed=3)
    reports = [whole.train_step(rows) for _ in range(5)]
    first = Learner(tiny_model, SECTION, seed=3)
    for _ in range(2):
        first.train_step(rows)
    first.version = 7
    first.step = 2
    noise = torch.get_rng_state()
    save_checkpoint(tmp_path / "step-000002", first, config_hash="abc", extra={"cursor": [1, 2]})
    torch.manual_seed(99)

    resumed = Learner(tiny_model, SECTION, seed=3)
    state = load_checkpoint(tmp_path / "step-000002", resumed)
    assert (state.step, state.version, state.config_hash, state.extra) == (2, 7, "abc", {"cursor": [1, 2]})
    assert resumed.version == 7
    assert torch.equal(torch.get_rng_state(), noise)
    resumed.version = 0
    later = [resumed.train_step(rows) for _ in range(3)]
    assert [report.loss for report in later] == [report.loss for report in reports[2:]]
    assert [report.lr for report in later] == [report.lr for report in reports[2:]]
    assert all(torch.equal(tensor, whole.weights()[name]) for name, tensor in resumed.weights().items())


def test_the_model_of_a_checkpoint_is_a_model_folder_with_its_tokenizer(tiny_model: Path, tmp_path: Path, rows) -> None:
    learner = Learner(tiny_model, SECTION)
    learner.train_step(rows)
    save_checkpoint(tmp_path / "step-000001", learner)
    model = load_model(tmp_path / "step-000001" / "model")
    assert all(torch.equal(tensor, learner.weights()[name]) for name, tensor in model.state_dict().items())
    assert (tmp_path / "step-000001" / "model" / "tokenizer.json").is_file()
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pt", ".pkl", ".bin")]


def test_a_checkpoint_of_another_model_is_refused_by_name(tiny_model: Path, other_model: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "step-000000", Learner(other_model, SECTION))
    learner = Learner(tiny_model, SECTION)
    expected = r"of another model: it holds .*vocabulary 80.* model .*tiny is .*vocabulary 64"
    with pytest.raises(ConfigError, match=expected):
        load_checkpoint(tmp_path / "step-000000", learner)


def test_another_tokenizer_makes_another_model(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text('{"other": 1}')
    save_checkpoint(tmp_path / "step-000000", Learner(tmp_path / "model", SECTION))
    with pytest.raises(ConfigError, match="tokenizer"):
        load_checkpoint(tmp_path / "step-000000", Learner(tiny_model, SECTION))


@pytest.mark.parametrize("name", ["model/model.safetensors", "optimizer.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbled"])
def test_a_damaged_checkpoint_is_refused_by_file_and_changes_nothing(
    tiny_model: Path, tmp_path: Path, rows, name: str, damage: str
) -> None:
    learner = Learner(tiny_model, SECTION)
    learner.train_step(rows)
    save_checkpoint(tmp_path / "step-000001", learner)
    file = tmp_path / "step-000001" / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"\xff" * len(data))
    before = learner.weights()
    with pytest.raises(ConfigError) as raised:
        load_checkpoint(tmp_path / "step-000001", learner)
    assert name.split("/")[0] in str(raised.value)
    assert all(torch.equal(before[key], tensor) for key, tensor in learner.weights().items())


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_last_checkpoint_whole(tiny_model: Path, tmp_path: Path, rows) -> None:
    learner = Learner(tiny_model, SECTION)
    save_checkpoint(tmp_path / "step-000001", learner)
    learner.train_step(rows)
    for target in ("step-000001", "step-000002"):
        with files_limited_to(20_000), pytest.raises(StoreError, match=r"cannot be written.*MB are free.*--resume"):
            save_checkpoint(tmp_path / target, learner)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert load_checkpoint(tmp_path / "step-000001", Learner(tiny_model, SECTION)).step == 0


def test_old_checkpoints_and_leftovers_of_a_kill_are_pruned(tiny_model: Path, tmp_path: Path) -> None:
    learner = Learner(tiny_model, SECTION)
    for step in (9, 10, 11, 1000000):
        save_checkpoint(tmp_path / f"step-{step:06d}", learner)
    (tmp_path / ".step-000012.tmp-123").mkdir()
    removed = prune_checkpoints(tmp_path, keep=2, protect=[tmp_path / "step-000009"])
    assert [path.name for path in removed] == ["step-000010"]
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000009", "step-000011", "step-1000000"]
    assert not list(tmp_path.glob(".*"))


def test_saving_again_replaces_the_checkpoint(tiny_model: Path, tmp_path: Path, rows) -> None:
    learner = Learner(tiny_model, SECTION)
    save_checkpoint(tmp_path / "step-000001", learner)
    learner.train_step(rows)
    save_checkpoint(tmp_path / "step-000001", learner)
    assert json.loads((tmp_path / "step-000001" / "checkpoint.json").read_text())["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
