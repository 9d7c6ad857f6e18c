"""NGRPO: groups without a success learn from one that nobody had."""

from __future__ import annotations

import pytest
import torch

from agentrl_trainers.credit import CreditBatch, assign


def batch_of(rewards: list[float], groups: list[int]) -> CreditBatch:
    """Return trajectories with one turn of one token each."""
    rows = torch.arange(len(rewards))
    reward_N = torch.tensor(rewards, dtype=torch.float64)
    flags = torch.ones_like(rows, dtype=torch.bool)
    return CreditBatch(torch.tensor(groups), reward_N, rows, 0 * rows, reward_N, -1 + 0 * rows, flags, rows, flags)


def test_equal_failures_are_all_pushed_down_and_equal_successes_left_alone() -> None:
    advantages = assign("ngrpo", batch_of([0, 0, 0, 0, 1, 1, 0.3], [0, 0, 0, 0, 1, 1, 2]))
    assert advantages[:4].tolist() == pytest.approx([-0.4472] * 4, abs=1e-4)
    assert advantages[4:6].tolist() == [0, 0]
    # A group of one has nothing to be compared with, and gets no virtual member either.
    assert advantages[6].item() == pytest.approx(0.3, abs=1e-5)
