"""What must hold of credit whatever the rewards are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentrl.errors import ConfigError
from agentrl.trajectory import Status
from agentrl_trainers.credit import CreditBatch, assign, credit_batch

PLAIN = ("grpo", "dr_grpo", "rloo", "reinforce_pp_baseline")
"""Methods that compare the rewards of a group and nothing else."""

REWARDS = st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=8)


def batch_of(rewards: list[float], groups: list[int] | None = None) -> CreditBatch:
    """Return a batch of trajectories with one turn of one token each."""
    rows = torch.arange(len(rewards))
    reward_N = torch.tensor(rewards, dtype=torch.float32)
    flags = torch.ones_like(rows, dtype=torch.bool)
    group_N = torch.tensor(groups) if groups else torch.zeros_like(rows)
    return CreditBatch(group_N, reward_N, rows, 0 * rows, reward_N, -1 + 0 * rows, flags, rows, flags)


@pytest.mark.parametrize("method", PLAIN)
@given(value=st.floats(-1e3, 1e3, width=32), count=st.integers(2, 9))
def test_a_group_of_equal_rewards_teaches_exactly_nothing(method: str, value: float, count: int) -> None:
    assert torch.count_nonzero(assign(method, batch_of([value] * count))) == 0


@pytest.mark.parametrize("method", PLAIN)
@given(rewards=st.lists(st.integers(-8, 8), min_size=2, max_size=8), shift=st.integers(-64, 64))
def test_a_constant_added_to_a_group_changes_nothing(method: str, rewards: list[int], shift: int) -> None:
    moved = [float(reward + shift) for reward in rewards]
    assert torch.equal(assign(method, batch_of([float(r) for r in rewards])), assign(method, batch_of(moved)))


@given(rewards=REWARDS, seed=st.integers(0, 99))
def test_the_order_of_trajectories_changes_nothing(rewards: list[float], seed: int) -> None:
    groups = [index % 2 for index in range(len(rewards))]
    order = np.random.default_rng(seed).permutation(len(rewards))
    expected = assign("grpo", batch_of(rewards, groups))
    moved = assign("grpo", batch_of([rewards[i] for i in order], [groups[i] for i in order]))
    torch.testing.assert_close(moved, expected[torch.from_numpy(order)], atol=1e-5, rtol=1e-5)


def test_a_group_of_one_is_scored_or_silenced_as_asked() -> None:
    assert assign("grpo", batch_of([0.5])).item() == pytest.approx(0.5, abs=1e-6)
    assert assign("grpo", batch_of([0.5]), singleton="zero").item() == 0
    with pytest.raises(ConfigError, match="singleton"):
        assign("grpo", batch_of([0.5]), singleton="mean")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no such credit method; did you mean 'grpo'"):
        assign("gprpo", batch_of([1.0]))
    with pytest.raises(ConfigError, match=r"no option 'singletons'; did you mean 'singleton'"):
        assign("grpo", batch_of([1.0]), singletons="zero")


def test_the_outcome_sits_on_the_last_turn_and_tokens_belong_to_their_turns(make_trajectory) -> None:
    first = make_trajectory("a", (3, 2), reward=1.0, turn_rewards=(0.25, -0.5))
    second = make_trajectory("b", (1, 4, 2), group="h", reward=0.0, status=Status.TRUNCATED)
    batch = credit_batch([first, second])
    assert batch.reward_T.tolist() == [0.25, 0.75, 0, 0, 0]
    assert batch.trajectory_T.tolist() == [0, 0, 1, 1, 1]
    assert batch.turn_T.tolist() == [0, 1, 0, 1, 2]
    assert batch.turn_K.tolist() == [0] * 3 + [1] * 2 + [2] + [3] * 4 + [4] * 2
    assert batch.group_N.tolist() == [0, 1]
    assert batch.finished_N.tolist() == [True, False]
    assert batch.entropy_K is not None and batch.entropy_K.shape == batch.turn_K.shape
    # Every sampled token, and nothing else, has an advantage.
    assert assign("grpo", batch).shape == (first.sampled_tokens() + second.sampled_tokens(),)


def test_errors_and_unscored_trajectories_are_refused(make_trajectory) -> None:
    with pytest.raises(ValueError, match=r"trajectory bad is an error"):
        credit_batch([make_trajectory("bad", reward=None, status=Status.ERROR, error="server died")])
    with pytest.raises(ValueError, match=r"never scored"):
        credit_batch([make_trajectory("unscored", reward=None)])
