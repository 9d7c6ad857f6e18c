"""What must hold of step-group, turn-level and modulated credit whatever was sampled."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import ConfigError
from agentrl_trainers.credit import COMPOSITIONS, CreditBatch, Need, assign, check, credit_batch
from agentrl_trainers.credit.modulators import dynamic_sampling, most_varied, overlong_filtering
from agentrl_trainers.credit.turn_rewards import format_penalty

METHODS = (
    "dapo", "gigpo", "gigpo_mean_std", "hgpo", "hgpo_base", "igpo", "igpo_joint", "igpo_2025", "empg", "empg_dr_grpo",
    "empg_rloo", "empg_dapo", "empg_gigpo", "empg_hgpo", "aepo", "arpo", "arpo_hard", "eapo",
)  # fmt: skip

ROWS = ("group_N", "reward_N", "finished_N")
TURNS = ("trajectory_T", "turn_T", "reward_T", "anchor_T", "valid_T", "belief_T")


def random_batch(seed: int, *, trajectories: int = 8, groups: int = 2, **fields: Any) -> CreditBatch:
    """Return a ragged batch of integer rewards in float64, with anchors, beliefs and entropies."""
    random = np.random.default_rng(seed)
    turns = random.integers(1, 6, trajectories)
    count = int(turns.sum())
    tokens = random.integers(1, 5, count)
    rows = np.arange(trajectories)
    trajectory_T = torch.from_numpy(np.repeat(rows, turns))
    reward_T = torch.from_numpy(random.integers(-2, 3, count)).double()
    turn_K = torch.from_numpy(np.repeat(np.arange(count), tokens))
    parts: dict[str, Any] = {
        "group_N": torch.from_numpy(rows % groups),
        "reward_N": torch.zeros(trajectories, dtype=torch.float64).index_add_(0, trajectory_T, reward_T),
        "trajectory_T": trajectory_T,
        "turn_T": torch.from_numpy(np.concatenate([np.arange(length) for length in turns])),
        "reward_T": reward_T,
        "anchor_T": torch.from_numpy(random.integers(-1, 3, count)),
        "valid_T": torch.from_numpy(random.random(count) > 0.2),
        "turn_K": turn_K,
        "finished_N": torch.from_numpy(random.random(trajectories) > 0.2),
        "entropy_K": torch.from_numpy(random.uniform(0, 2, len(turn_K))),
        "belief_T": torch.from_numpy(-random.uniform(0, 3, count)),
        "shared_K": torch.arange(len(turn_K)),
    }
    return CreditBatch(**(parts | fields))


def permuted(batch: CreditBatch, order: torch.Tensor) -> tuple[CreditBatch, torch.Tensor]:
    """Return the batch with its trajectories in another order, and where each of its tokens was."""
    turns = torch.cat([(batch.trajectory_T == row).nonzero()[:, 0] for row in order])
    tokens = torch.cat([(batch.turn_K == turn).nonzero()[:, 0] for turn in turns])
    place_T = torch.empty_like(turns).index_copy_(0, turns, torch.arange(len(turns)))
    place_N = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order)))
    changed = {name: getattr(batch, name)[order] for name in ROWS} | {
        name: getattr(batch, name)[turns] for name in TURNS
    }
    changed["trajectory_T"] = place_N[changed["trajectory_T"]]
    changed["turn_K"] = place_T[batch.turn_K[tokens]]
    assert batch.entropy_K is not None
    return dataclasses.replace(batch, **changed, entropy_K=batch.entropy_K[tokens]), tokens


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(seed=st.integers(0, 999))
def test_the_order_of_trajectories_changes_nothing(method: str, seed: int) -> None:
    batch = random_batch(seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(8))
    moved, tokens = permuted(batch, order)
    found = COMPOSITIONS[method](moved)
    torch.testing.assert_close(found, COMPOSITIONS[method](batch)[tokens], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(seed=st.integers(0, 999))
def test_groups_do_not_see_each_other_unless_the_method_looks_at_the_whole_batch(method: str, seed: int) -> None:
    batch = random_batch(seed)
    rest = dataclasses.replace(batch, reward_N=torch.where(batch.group_N == 1, 9 * batch.reward_N, batch.reward_N))
    first_K = batch.group_N[batch.trajectory_T[batch.turn_K]] == 0
    one, other = COMPOSITIONS[method](batch)[first_K], COMPOSITIONS[method](rest)[first_K]
    if method.startswith("empg"):  # its last step takes the mean over the batch away
        one, other = one - one.mean(), other - other.mean()
    torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("method", ["dapo", "arpo", "arpo_hard", "aepo", "empg", "empg_dapo", "empg_dr_grpo", "igpo"])
@settings(max_examples=15)
@given(seed=st.integers(0, 999), shift=st.integers(-64, 64))
def test_a_constant_added_to_the_outcomes_of_a_group_changes_nothing(method: str, seed: int, shift: int) -> None:
    batch = random_batch(seed)
    moved = dataclasses.replace(batch, reward_N=batch.reward_N + shift * (batch.group_N == 0))
    torch.testing.assert_close(COMPOSITIONS[method](moved), COMPOSITIONS[method](batch), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("method", ["gigpo", "gigpo_mean_std", "hgpo", "hgpo_base", "empg_gigpo", "empg_hgpo"])
@settings(max_examples=15)
@given(seed=st.integers(0, 999), shift=st.integers(-64, 64))
def test_so_it_does_for_step_groups_without_discount(method: str, seed: int, shift: int) -> None:
    """With γ < 1 theory says otherwise: the same constant is worth more, the nearer it is."""
    batch = random_batch(seed)
    batch = dataclasses.replace(batch, valid_T=torch.ones_like(batch.trajectory_T, dtype=torch.bool))
    last_T = torch.cat([batch.trajectory_T[1:] != batch.trajectory_T[:-1], torch.tensor([True])])
    moved = dataclasses.replace(batch, reward_N=batch.reward_N + shift, reward_T=batch.reward_T + shift * last_T)
    one, other = COMPOSITIONS[method](moved, gamma=1.0), COMPOSITIONS[method](batch, gamma=1.0)
    torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize(
    "method", ["dapo", "d3s", "arpo", "arpo_hard", "aepo", "gigpo", "gigpo_mean_std", "hgpo", "hgpo_base"]
)
@settings(max_examples=15)
@given(value=st.floats(-1e3, 1e3, width=32), members=st.integers(2, 9))
def test_a_group_whose_members_did_the_same_teaches_exactly_nothing(method: str, value: float, members: int) -> None:
    count = 3 * members
    last_T = torch.arange(3).repeat(members) == 2
    batch = random_batch(0, trajectories=members, groups=1)
    batch = dataclasses.replace(
        batch,
        reward_N=torch.full((members,), value, dtype=torch.float32),
        trajectory_T=torch.arange(members).repeat_interleave(3),
        turn_T=torch.arange(3).repeat(members),
        reward_T=torch.where(last_T, value, 0.0).float(),
        anchor_T=torch.arange(3).repeat(members),
        valid_T=torch.ones(count, dtype=torch.bool),
        turn_K=torch.arange(count),
        entropy_K=torch.rand(count),
        shared_K=torch.arange(3).repeat(members),
    )
    assert torch.count_nonzero(COMPOSITIONS[method](batch)) == 0


@settings(max_examples=15)
@given(gain=st.floats(-2, 2, width=32), outcome=st.floats(-9, 9, width=32), members=st.integers(2, 9))
def test_equal_gains_and_outcomes_teach_exactly_nothing_by_igpo(gain: float, outcome: float, members: int) -> None:
    batch = random_batch(1, trajectories=members, groups=1)
    batch = dataclasses.replace(
        batch,
        reward_N=torch.full((members,), outcome, dtype=torch.float64),
        information_T=torch.full((len(batch.trajectory_T),), gain, dtype=torch.float64),
    )
    assert torch.count_nonzero(COMPOSITIONS["igpo"](batch)) == 0


@pytest.mark.parametrize("method", METHODS)
def test_what_the_environment_wrote_has_no_credit_and_no_influence(method: str, make_trajectory: Any) -> None:
    """Twice the observation tokens: the same sampled tokens get the same advantages, and nothing else gets any."""

    def advantages(observation: int) -> torch.Tensor:
        made = []
        for member, length in enumerate((2, 4, 3)):
            one = make_trajectory(f"m{member}", (length,) * 3, reward=float(member), observation=observation)
            turns = tuple(dataclasses.replace(turn, anchor=str(number)) for number, turn in enumerate(one.turns))
            spans = tuple(
                dataclasses.replace(span, entropies=np.linspace(0, member, len(span), dtype=np.float32))
                if span.logprobs is not None
                else span
                for span in one.segments[0].spans
            )
            metadata = {"answer_belief": [-2.0, -1.0 + member, -0.5]}
            segments = (dataclasses.replace(one.segments[0], spans=spans),)
            made.append(dataclasses.replace(one, turns=turns, segments=segments, metadata=metadata))
        return assign(method, credit_batch(made))

    assert advantages(2).shape == (27,)
    assert torch.equal(advantages(2), advantages(40))


def test_branches_are_known_by_the_spans_they_share(make_trajectory: Any) -> None:
    parent = make_trajectory("parent", (3, 2), reward=1.0)
    own = make_trajectory("branch", (3, 4), reward=0.0)
    spans = (*parent.segments[0].spans[:2], *own.segments[0].spans[2:])
    branch = dataclasses.replace(own, segments=(dataclasses.replace(own.segments[0], spans=spans),), parent="parent")
    assert credit_batch([own]).shared_K is None
    batch = credit_batch([parent, branch])
    assert batch.shared_K is not None
    assert batch.shared_K.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 8, 9, 10, 11]
    hard = assign("arpo_hard", batch)
    assert torch.equal(hard[:3], hard[5:8])
    assert hard[3] > 0 > hard[8]


def test_beliefs_travel_with_a_trajectory_and_a_wrong_number_of_them_is_none(make_trajectory: Any) -> None:
    right = make_trajectory("a", (1, 1), metadata={"answer_belief": [-1.5, None]})
    wrong = make_trajectory("b", (1, 1), metadata={"answer_belief": [-1.5]})
    belief_T = credit_batch([right, wrong]).belief_T
    assert belief_T is not None
    assert belief_T[0] == -1.5
    assert belief_T[1:].isnan().all()


def test_dropping_a_group_leaves_the_mean_of_the_others_as_if_it_had_not_been_there() -> None:
    batch = random_batch(3)
    batch = dataclasses.replace(batch, reward_N=torch.where(batch.group_N == 0, 1.0, batch.reward_N))
    advantage_K = torch.ones(len(batch.turn_K), dtype=torch.float64)
    kept = dynamic_sampling(batch, advantage_K)
    dropped_K = batch.group_N[batch.trajectory_T[batch.turn_K]] == 0
    assert torch.count_nonzero(kept[dropped_K]) == 0
    assert kept.mean().item() == pytest.approx(1)
    by_sequence = dynamic_sampling(batch, advantage_K, count="sequences")
    assert by_sequence[~dropped_K].unique().tolist() == [2.0]
    assert torch.equal(dynamic_sampling(batch, advantage_K, count="all"), (~dropped_K).double())
    with pytest.raises(ConfigError, match="count"):
        COMPOSITIONS["dapo"](batch, count="tokenz")


def test_truncated_trajectories_can_be_left_out() -> None:
    batch = random_batch(5)
    kept = overlong_filtering(batch, torch.ones(len(batch.turn_K)), count="all")
    assert torch.equal(kept > 0, batch.finished_N[batch.trajectory_T[batch.turn_K]])


@given(values=st.lists(st.integers(-9, 9), min_size=1, max_size=9), share=st.floats(0.1, 1))
def test_no_other_choice_of_trajectories_varies_more(values: list[int], share: float) -> None:
    values_N = torch.tensor(values, dtype=torch.float64)
    count = max(1, round(share * len(values)))
    chosen = values_N[most_varied(values_N, count)]
    best = max(torch.tensor(choice).var(unbiased=False) for choice in combinations(values_N.tolist(), count))
    assert len(chosen) == count
    assert chosen.var(unbiased=False).item() == pytest.approx(best.item(), abs=1e-5)


def test_d3s_keeps_uncertain_tokens_of_the_trajectories_that_differ() -> None:
    batch = random_batch(7, trajectories=4, groups=1)
    batch = dataclasses.replace(batch, reward_N=torch.tensor([5.0, 0, 0.5, -5]).double())
    kept = COMPOSITIONS["d3s"](batch, count="all")
    trajectory_K = batch.trajectory_T[batch.turn_K]
    assert set(trajectory_K[kept != 0].tolist()) == {0, 3}
    assert batch.entropy_K is not None
    plain = COMPOSITIONS["grpo"](batch)
    weight = plain.abs() * batch.entropy_K
    candidates = (trajectory_K == 0) | (trajectory_K == 3)
    assert weight[kept != 0].min() >= weight[candidates & (kept == 0)].max()


def test_broken_format_has_a_reward_of_its_own() -> None:
    batch = random_batch(0, trajectories=2, groups=1)
    valid_T = torch.ones_like(batch.valid_T)
    valid_T[0] = False
    changed = format_penalty(dataclasses.replace(batch, valid_T=valid_T), malformed="any")
    assert changed.reward_N.tolist() == [-1, batch.reward_N[1].item()]
    sums = torch.zeros(2).double().index_add_(0, batch.trajectory_T, changed.reward_T)
    torch.testing.assert_close(sums, changed.reward_N)
    if batch.trajectory_T.tolist().count(0) > 1:
        untouched = format_penalty(dataclasses.replace(batch, valid_T=valid_T))
        assert torch.equal(untouched.reward_N, batch.reward_N)


@pytest.mark.parametrize(
    ("method", "lacks"),
    [
        ("hgpo", "define `anchor\\(\\)`"),
        ("igpo", "give every task an `answer`"),
        ("empg", "entropies: the policy engine"),
        ("empg_gigpo", "anchors.*; entropies"),
    ],
)
def test_a_method_that_the_run_cannot_serve_is_refused_with_what_is_missing(method: str, lacks: str) -> None:
    with pytest.raises(ConfigError, match=rf"{method}.*{lacks}"):
        check(method, ())
    check(method, list(Need))


def test_the_check_before_a_run_also_finds_a_misspelt_option() -> None:
    with pytest.raises(ConfigError, match="did you mean 'step_weight'"):
        check("gigpo", {Need.ANCHORS}, ["step_weigth"])
    check("grpo", ())


@pytest.mark.parametrize("method", ["empg", "aepo", "d3s"])
def test_entropies_that_are_missing_after_all_are_named(method: str) -> None:
    with pytest.raises(ConfigError, match="entropy"):
        assign(method, random_batch(0, entropy_K=None))


def test_beliefs_that_are_missing_after_all_are_named() -> None:
    with pytest.raises(ConfigError, match="information_gain_scores"):
        assign("igpo", random_batch(0, belief_T=None))
