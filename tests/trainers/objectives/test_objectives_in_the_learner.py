"""Every objective trains through the learner, and packing changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agentrl.config import TrainerSection
from agentrl_trainers.learner import Learner, Row, make_rows
from agentrl_trainers.objectives import OBJECTIVES


@pytest.fixture(scope="module")
def rows(make_trajectory) -> list[Row]:
    """Return rows of two groups of three; one trajectory has two segments."""
    trajectories = [
        make_trajectory(f"t{index}", (2 + index % 3, 3), prompt=3 + index, group=f"g{index // 3}") for index in range(5)
    ]
    trajectories.append(make_trajectory("parts", (3, 2), group="g1", segments=(0, 1)))
    random = np.random.default_rng(0)
    counts = [trajectory.sampled_tokens() for trajectory in trajectories]
    advantage_N = random.normal(size=len(counts))
    return make_rows(trajectories, torch.from_numpy(np.repeat(advantage_N, counts)))


def step(folder: Path, rows: Sequence[Row], name: str, budget: int, monkeypatch: Any, **fields: Any) -> torch.Tensor:
    """Return the gradient of one update."""
    section = TrainerSection(objective=name, token_budget=budget, threads=1, max_grad_norm=1e9, lr=1e-3, **fields)
    learner = Learner(folder, section)
    found: list[torch.Tensor] = []

    def keep() -> None:
        found.extend(p.grad.flatten().double() for p in learner.policy.module.parameters() if p.grad is not None)

    with monkeypatch.context() as patch:
        patch.setattr(learner.optimizer, "step", keep)
        report = learner.train_step(rows)
    assert np.isfinite(report.loss) and report.updates >= 1
    return torch.cat(found)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_packing_does_not_change_the_gradient(tiny_model: Path, rows: list[Row], name: str, monkeypatch) -> None:
    whole = step(tiny_model, rows, name, 10_000, monkeypatch)
    parts = step(tiny_model, rows, name, 1, monkeypatch)
    assert whole.norm() > 0
    assert (parts - whole).norm() < 1e-5 * whole.norm()


@pytest.mark.parametrize("name", ["gvpo", "clip_cov"])
def test_whole_batch_figures_are_made_again_for_each_minibatch(
    tiny_model: Path, rows: list[Row], name: str, monkeypatch
) -> None:
    updates = step(tiny_model, rows, name, 40, monkeypatch, minibatches=2)
    assert updates.isfinite().all() and updates.numel() > 0


def test_a_correction_reaches_the_loss(tiny_model: Path, rows: list[Row], monkeypatch) -> None:
    plain = step(tiny_model, rows, "policy_gradient", 10_000, monkeypatch)
    truncated = step(
        tiny_model, rows, "policy_gradient", 10_000, monkeypatch, mismatch="tis", mismatch_options={"upper": 1e-3}
    )
    assert truncated.norm() < 1e-2 * plain.norm()


def test_methods_of_groups_refuse_rows_that_do_not_say_theirs(tiny_model: Path, rows: list[Row], monkeypatch) -> None:
    unknown = [dataclasses.replace(row, group=-1) for row in rows]
    with pytest.raises(ValueError, match=r"set Row\.group"):
        step(tiny_model, unknown, "gvpo", 40, monkeypatch)
