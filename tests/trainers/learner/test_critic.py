"""The critic: learns values at targets and nowhere else, moves the policy only as asked, resumes bit-equal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agentrl.config import TrainerSection
from agentrl.errors import ConfigError
from agentrl_trainers.learner import (
    Learner,
    Lesson,
    Row,
    load_checkpoint,
    make_rows,
    save_checkpoint,
    turn_order,
)

KINDS = ("head", "model")


def learner(folder: Path, kind: str = "head", *, heads: int = 1, seed: int = 3, **changes: Any) -> Learner:
    """Return a learner with a critic; `critic__clip` and the like set its section."""
    critic = {"kind": kind, "lr": 1e-2, "clip": 100.0}
    critic |= {key.removeprefix("critic__"): changes.pop(key) for key in list(changes) if key.startswith("critic__")}
    section = TrainerSection(**({"lr": 1e-2, "threads": 1, "critic": critic} | changes))
    return Learner(folder, section, seed=seed, value_heads=heads)


@pytest.fixture
def rows(make_trajectory) -> list[Row]:
    """Return rows whose targets differ by trajectory, with one token in two a target."""
    trajectories = [make_trajectory(f"t{index}", (3, 2), prompt=3 + index) for index in range(6)]
    counts = [trajectory.sampled_tokens() for trajectory in trajectories]
    returns = np.repeat(np.linspace(-1, 1, len(counts)), counts).astype(np.float32)[:, None]
    target = (np.arange(len(returns)) % 2 == 0)[:, None]
    lesson = Lesson(np.zeros_like(returns), np.where(target, returns, np.float32(np.nan)), target)
    advantages = torch.randn(len(returns), generator=torch.Generator().manual_seed(0))
    return make_rows(trajectories, advantages, lesson)


@pytest.mark.parametrize("kind", KINDS)
def test_values_come_to_fit_their_targets_and_tokens_without_one_are_not_read(tiny_model: Path, rows, kind) -> None:
    trainer = learner(tiny_model, kind)
    assert not trainer.values(rows).any(), "heads start at zero"
    reports = [trainer.train_step(rows) for _ in range(30)]
    assert reports[-1].value_loss < 0.3 * reports[0].value_loss
    assert reports[0].value_explained == pytest.approx(0, abs=1e-6) and reports[-1].value_explained > 0.5
    assert reports[0].value_targets == sum(int(row.lesson.target_KH.sum()) for row in rows)
    assert trainer.values(rows).isfinite().all(), "targets that are none are nan here"


@pytest.mark.parametrize("kind", KINDS)
def test_while_the_critic_warms_up_the_policy_does_not_move(tiny_model: Path, rows, kind) -> None:
    trainer = learner(tiny_model, kind, critic__warmup_steps=2, weight_decay=0.1)
    before = trainer.weights()
    reports = [trainer.train_step(rows) for _ in range(2)]
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.weights().items())
    assert [report.critic_warmup for report in reports] == [1.0, 1.0]
    assert all(report.critic_grad_norm > 0 for report in reports) and trainer.values(rows).any()
    after = trainer.train_step(rows)
    assert after.critic_warmup == 0
    assert any(not torch.equal(before[name], tensor) for name, tensor in trainer.weights().items())


def silent(rows: list[Row]) -> list[Row]:
    """Return rows without any advantage."""
    return [replace(row, advantage_K=0 * row.advantage_K) for row in rows]


@pytest.mark.parametrize(("kind", "trunk", "moves"), [("head", 0.0, False), ("head", 0.5, True), ("model", 0.5, False)])
def test_the_value_loss_reaches_the_policy_only_through_a_shared_trunk(
    tiny_model: Path, rows, kind: str, trunk: float, moves: bool
) -> None:
    trainer = learner(tiny_model, kind, critic__trunk=trunk)
    before = trainer.weights()
    # A head at zero passes no gradient on: the second step is the first that could.
    for _ in range(2):
        trainer.train_step(silent(rows))
    moved = any(not torch.equal(before[name], tensor) for name, tensor in trainer.weights().items())
    assert moved is moves


def test_the_split_into_micro_batches_changes_neither_gradient(tiny_model: Path, rows) -> None:
    whole, split = learner(tiny_model), learner(tiny_model, token_budget=16)
    for trainer in (whole, split):
        torch.nn.init.normal_(trainer.critic.module["head"].weight, generator=torch.Generator().manual_seed(1))
        report = trainer.train_step(rows)
        assert report.micro_batches == (1 if trainer is whole else 6)
    for one, other in zip(whole.policy.module.parameters(), split.policy.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)
    ours, theirs = whole.critic.module.state_dict(), split.critic.module.state_dict()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-5, rtol=1e-4)


def test_a_value_does_not_gain_from_leaving_its_range(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model, critic__clip=0.05, critic__lr=0.1)
    reports = [trainer.train_step(rows) for _ in range(8)]
    # The values before the update stand at 0 in these rows, so 0.05 is as far as it pays to go.
    assert reports[-1].value_clip_fraction > 0.5
    assert reports[0].value_clip_fraction == 0


def test_rows_that_only_the_critic_learns_from_are_not_skipped(tiny_model: Path, rows) -> None:
    report = learner(tiny_model).train_step(silent(rows))
    assert report.tokens_skipped == 0 and report.updates == 1 and report.critic_grad_norm > 0
    bare = [replace(row, lesson=None) for row in silent(rows)]
    assert learner(tiny_model).train_step(bare).updates == 0


@pytest.mark.parametrize("kind", KINDS)
def test_values_stand_at_the_tokens_they_belong_to(tiny_model: Path, make_trajectory, kind: str) -> None:
    """Rows are sorted by length when packed, and a trajectory may have several segments: order must come back."""
    trajectories = [
        make_trajectory("a", (3, 2, 1), segments=(0, 1, 0)),
        make_trajectory("b", (2,), prompt=9),
        make_trajectory("c", (1, 4)),
    ]
    trainer = learner(tiny_model, kind, heads=3, token_budget=24)
    torch.nn.init.normal_(trainer.critic.module["head"].weight, generator=torch.Generator().manual_seed(1))
    count = sum(trajectory.sampled_tokens() for trajectory in trajectories)
    found = torch.empty(count, 3)
    found[torch.from_numpy(turn_order(trajectories))] = trainer.values(make_rows(trajectories, torch.zeros(count)))
    start = 0
    for trajectory in trajectories:
        alone = torch.empty(trajectory.sampled_tokens(), 3)
        rows = make_rows([trajectory], torch.zeros(len(alone)))
        alone[torch.from_numpy(turn_order([trajectory]))] = torch.cat([trainer.values([row]) for row in rows])
        torch.testing.assert_close(found[start : start + len(alone)], alone, atol=1e-5, rtol=1e-5)
        start += len(alone)


def test_summed_squares_of_probabilities(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model)
    squares = trainer.squares(rows)
    assert squares.shape == (sum(len(row.position_K) for row in rows),)
    # Near-uniform over 64 tokens.
    assert squares.tolist() == pytest.approx([1 / 64] * len(squares), rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_critic_takes_the_very_steps_of_an_uninterrupted_one(
    tiny_model: Path, tmp_path: Path, rows, kind: str
) -> None:
    settings = {"minibatches": 2, "critic__warmup_steps": 1}
    whole = learner(tiny_model, kind, **settings)
    reports = [whole.train_step(rows) for _ in range(4)]
    first = learner(tiny_model, kind, **settings)
    for _ in range(2):
        first.train_step(rows)
    save_checkpoint(tmp_path / "step-000002", first)
    resumed = learner(tiny_model, kind, **settings)
    load_checkpoint(tmp_path / "step-000002", resumed)
    later = [resumed.train_step(rows) for _ in range(2)]
    assert [report.value_loss for report in later] == [report.value_loss for report in reports[2:]]
    assert [report.loss for report in later] == [report.loss for report in reports[2:]]
    assert torch.equal(resumed.values(rows), whole.values(rows))
    assert all(torch.equal(tensor, whole.weights()[name]) for name, tensor in resumed.weights().items())


def test_a_checkpoint_with_another_critic_or_none_is_refused_and_changes_nothing(
    tiny_model: Path, tmp_path: Path, rows
) -> None:
    trained = learner(tiny_model, "head")
    trained.train_step(rows)
    save_checkpoint(tmp_path / "head", trained)
    other = learner(tiny_model, "model")
    before = other.weights()
    with pytest.raises(ConfigError, match=r"is of another critic: .*trainer\.critic"):
        load_checkpoint(tmp_path / "head", other)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.weights().items())
    (tmp_path / "head" / "critic.safetensors").rename(tmp_path / "away")
    with pytest.raises(ConfigError, match=r"critic\.safetensors is missing"):
        load_checkpoint(tmp_path / "head", learner(tiny_model, "head"))
    bare = Learner(tiny_model, TrainerSection(threads=1))
    save_checkpoint(tmp_path / "none", bare)
    with pytest.raises(ConfigError, match="has no critic"):
        load_checkpoint(tmp_path / "none", learner(tiny_model, "head"))
    load_checkpoint(tmp_path / "none", Learner(tiny_model, TrainerSection(threads=1)))


def test_a_critic_of_another_model_is_loaded_from_its_own_folder(
    tiny_model: Path, other_model: Path, tmp_path: Path, rows
) -> None:
    trainer = learner(tiny_model, "model", critic__path=other_model)
    assert trainer.train_step(rows).value_targets > 0
    with pytest.raises(ConfigError, match="is no model folder"):
        learner(tiny_model, "model", critic__path=tmp_path)
    with pytest.raises(ConfigError, match="need a critic"):
        Learner(tiny_model, TrainerSection(threads=1)).values(rows)
