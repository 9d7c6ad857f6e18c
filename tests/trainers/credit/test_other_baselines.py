"""Critic-free estimators beside the group mean: worked examples, enumeration, and what must hold of any rewards."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import ConfigError
from agentrl.trajectory import Status
from agentrl_trainers.credit import COMPOSITIONS, CreditBatch, ValueTracker, assign, credit_batch
from agentrl_trainers.credit.estimators import gdpo, gpg, grpo_passk, max_at_k, opo, reinforce_pp

RELATIVE = ("opo", "gdpo", "grpo_passk", "max_at_k")
"""Methods that only compare the rewards of a group."""

FEW = settings(max_examples=20, deadline=None)

REWARDS = st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=7)


def batch_of(rewards: list[float], groups: list[int] | None = None, lengths: list[int] | None = None) -> CreditBatch:
    """Return a batch of trajectories of one turn."""
    rows = torch.arange(len(rewards))
    reward_N = torch.tensor(rewards, dtype=torch.float64)
    flags = torch.ones_like(rows, dtype=torch.bool)
    group_N = torch.tensor(groups) if groups else torch.zeros_like(rows)
    turn_K = torch.repeat_interleave(rows, torch.tensor(lengths)) if lengths else rows
    return CreditBatch(group_N, reward_N, rows, 0 * rows, reward_N, -1 + 0 * rows, flags, turn_K, flags)


@pytest.mark.parametrize("method", RELATIVE)
@FEW
@given(value=st.floats(-1e3, 1e3, width=32), count=st.integers(2, 7))
def test_a_group_of_equal_rewards_teaches_exactly_nothing(method: str, value: float, count: int) -> None:
    assert torch.count_nonzero(assign(method, batch_of([value] * count))) == 0


@pytest.mark.parametrize("method", RELATIVE)
@FEW
@given(rewards=st.lists(st.integers(-8, 8), min_size=2, max_size=7), shift=st.integers(-64, 64))
def test_a_constant_added_to_a_group_changes_nothing(method: str, rewards: list[int], shift: int) -> None:
    moved = [float(reward + shift) for reward in rewards]
    one, other = (assign(method, batch_of(values)) for values in ([float(r) for r in rewards], moved))
    assert torch.equal(one, other)


@pytest.mark.parametrize("method", ["opo", "gpg", "gdpo", "grpo_passk", "max_at_k"])
@FEW
@given(rewards=REWARDS, seed=st.integers(0, 99))
def test_the_order_of_trajectories_changes_nothing(method: str, rewards: list[float], seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.integers(0, 3, len(rewards))
    groups = np.unique(groups, return_inverse=True)[1].tolist()
    order = random.permutation(len(rewards)).tolist()
    rewards = [reward + 1e-3 * index for index, reward in enumerate(rewards)]  # ties are broken by place
    expected = assign(method, batch_of(rewards, groups))
    moved = assign(method, batch_of([rewards[i] for i in order], [groups[i] for i in order]))
    torch.testing.assert_close(moved, expected[order], atol=1e-5, rtol=1e-4)


def test_opo_weighs_the_baseline_by_lengths() -> None:
    batch = batch_of([1.0, 0.0, 0.0, 1.0], lengths=[10, 20, 30, 40])
    first = opo(batch)[[0, 10, 30, 60]]
    assert first.tolist() == pytest.approx([0.5, -0.5, -0.5, 0.5])


def test_gpg_scales_by_the_share_of_rewards_that_are_not_zero() -> None:
    assert gpg(batch_of([1.0, 0.0, 0.0, 0.0])).tolist() == pytest.approx([3.0, -1.0, -1.0, -1.0])


def test_passk_credits_the_best_by_its_lead_and_a_tie_not_at_all() -> None:
    lead = grpo_passk(batch_of([0.0, 1.0, 3.0, 1.0]))
    assert lead.tolist() == pytest.approx([0, 0, 2 / np.std([0, 1, 3, 1], ddof=1), 0], abs=1e-5)
    assert not grpo_passk(batch_of([1.0, 1.0, 0.0])).any()
    assert not grpo_passk(batch_of([1.0])).any()
    with pytest.raises(ConfigError, match="group of one"):
        grpo_passk(batch_of([1.0]), singleton="refuse")


@FEW
@given(rewards=REWARDS, k=st.integers(1, 5))
def test_max_at_k_equals_the_enumeration_of_all_sets(rewards: list[float], k: int) -> None:
    size = min(k, len(rewards))
    sets = list(itertools.combinations(range(len(rewards)), size))
    weight, lead = np.zeros(len(rewards)), np.zeros(len(rewards))
    for chosen in sets:
        best = max(rewards[i] for i in chosen)
        for i in chosen:
            weight[i] += best / len(sets)
            others = [rewards[j] for j in chosen if j != i]
            lead[i] += (best - max(others)) / len(sets) if others else 0.0
    batch = batch_of(rewards)
    assert max_at_k(batch, k=k, baseline="none").tolist() == pytest.approx(weight.tolist(), abs=1e-9)
    if k > 1 and len(rewards) >= k:
        assert max_at_k(batch, k=k).tolist() == pytest.approx(lead.tolist(), abs=1e-9)


def test_max_at_k_of_one_is_rloo_over_the_group() -> None:
    rewards = [0.0, 1.0, 5.0]
    expected = COMPOSITIONS["rloo"](batch_of(rewards)) / 3
    torch.testing.assert_close(max_at_k(batch_of(rewards), k=1), expected)
    share = max_at_k(batch_of([0.0, 0.0, 1.0]), k=2, baseline="none")
    assert float(share.sum()) / 2 == pytest.approx(2 / 3), "Σ s_i = k · E[max@k]"


def test_gdpo_does_not_let_a_large_part_drown_a_small_one() -> None:
    batch = batch_of([10.0, 0.0, 10.1, 0.1])
    parts = torch.tensor([[10.0, 0.0], [0.0, 0.0], [10.0, 0.1], [0.0, 0.1]], dtype=torch.float64)
    batch = replace(batch, part_NP=parts, part_names=("success", "format"))
    apart = gdpo(batch)
    scale = math.sqrt(3 / 4)
    assert apart.tolist() == pytest.approx([0.0, -2 * scale, 2 * scale, 0.0], abs=1e-4)
    only = gdpo(batch, part_weights={"format": 1.0})
    assert only.tolist() == pytest.approx([-scale, -scale, scale, scale], abs=1e-4)
    with pytest.raises(ConfigError, match=r"no part 'fromat'; it has: success, format"):
        gdpo(batch, part_weights={"fromat": 1.0})


def test_parts_of_trajectories_become_columns_and_what_was_not_scored_counts_nothing(make_trajectory) -> None:
    first = make_trajectory("a", reward=1.0, reward_parts={"success": 1.0, "style": None}, turn_rewards=(0.0, 0.0))
    second = make_trajectory("b", reward=0.5, reward_parts={"success": 0.0, "style": 0.5}, status=Status.TRUNCATED)
    batch = credit_batch([first, second])
    assert batch.part_names == ("success", "style", "step") and batch.part_NP is not None
    assert batch.part_NP[:, 0].tolist() == [1.0, 0.0]
    assert bool(batch.part_NP[0, 1].isnan()) and float(batch.part_NP[1, 1]) == 0.5
    assert gdpo(batch).isfinite().all()


def test_reinforce_pp_discounts_over_sampled_tokens_only() -> None:
    batch = batch_of([1.0, 0.5], lengths=[3, 1])
    assert reinforce_pp(batch, gamma=0.5).tolist() == pytest.approx([0.25, 0.5, 1.0, 0.5])
    per_token = replace(batch, reward_K=torch.tensor([0.1, 0.2, 1.0, 0.5], dtype=torch.float64))
    assert reinforce_pp(per_token).tolist() == pytest.approx([1.3, 1.2, 1.0, 0.5])


def test_what_was_made_elsewhere_must_be_there() -> None:
    for method in ("remax", "single_stream"):
        with pytest.raises(ConfigError, match="baseline_N"):
            assign(method, batch_of([1.0, 0.0]))
    with pytest.raises(ConfigError, match="squared_K"):
        assign("optimal_token_baseline", batch_of([1.0, 0.0]))


def test_a_tracked_value_moves_with_rewards_and_forgets_with_the_policy() -> None:
    tracker = ValueTracker()
    assert tracker.values(["a"]).tolist() == [0.5]
    # α = β = 4, D = D_half: the least that is kept is .875, so allow less here.
    halving = ValueTracker(least_kept=0.5, half_life=0.06)
    halving.restore({"a": [0.5, 8.0]})
    halving.update(["a"], [1.0], 0.06)
    assert halving.values(["a"]).tolist() == pytest.approx([0.6])
    tracker.update(["a", "b", "a"], [1.0, 0.0, 1.0], 0.0)
    kept = 0.96 * 8
    assert tracker.values(["a", "b"]).tolist() == pytest.approx([(kept / 2 + 2) / (kept + 2), kept / 2 / (kept + 1)])
    again = ValueTracker()
    again.restore(tracker.state())
    assert again.state() == tracker.state()
    with pytest.raises(ConfigError, match="least_kept"):
        ValueTracker(least_kept=1.0)


def test_single_stream_normalises_over_the_batch_and_needs_no_group() -> None:
    batch = replace(batch_of([1.0, 0.0], [0, 1]), baseline_N=torch.tensor([0.5, 0.25], dtype=torch.float64))
    assert assign("single_stream", batch).tolist() == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)], rel=1e-5)
