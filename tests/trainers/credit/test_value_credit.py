"""Credit with a critic: worked examples, plain recursions as the measure, and what must hold of any batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import ConfigError
from agentrl_trainers.credit import COMPOSITIONS, Credit, CreditBatch, Need, Plan, assign, assign_with_targets, check
from agentrl_trainers.credit._scan import reverse_scan
from agentrl_trainers.credit.estimators import bilevel_gae, egae, gae, hiper_hae, poad, turn_gae

CRITIC = tuple(name for name, method in COMPOSITIONS.items() if Need.CRITIC in method.needs)
PLAIN = tuple(name for name in CRITIC if COMPOSITIONS[name].value_heads == 1)

FEW = settings(max_examples=20, deadline=None)

SHAPES = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=5)
"""Sampled tokens of each turn of each trajectory."""


def batch_of(
    shape: list[list[int]], rewards: list[float], values: list[float], finished: list[bool] | None = None
) -> CreditBatch:
    """Return a batch; `rewards` are those of turns, `values` those of tokens."""
    turns = [len(row) for row in shape]
    trajectory_T = torch.repeat_interleave(torch.arange(len(shape)), torch.tensor(turns))
    reward_T = torch.tensor(rewards, dtype=torch.float64)
    lengths = torch.tensor([length for row in shape for length in row])
    return CreditBatch(
        group_N=torch.zeros(len(shape), dtype=torch.int64),
        reward_N=torch.zeros(len(shape), dtype=torch.float64).index_add_(0, trajectory_T, reward_T),
        trajectory_T=trajectory_T,
        turn_T=torch.cat([torch.arange(count) for count in turns]),
        reward_T=reward_T,
        anchor_T=torch.full_like(trajectory_T, -1),
        valid_T=torch.ones_like(trajectory_T, dtype=torch.bool),
        turn_K=torch.repeat_interleave(torch.arange(len(lengths)), lengths),
        finished_N=torch.tensor([True] * len(shape) if finished is None else finished),
        value_K=torch.tensor(values, dtype=torch.float64),
    )


def random_batch(shape: list[list[int]], seed: int) -> CreditBatch:
    """Return a batch of a shape with random rewards, values and ends."""
    random = np.random.default_rng(seed)
    turns, tokens = sum(map(len, shape)), sum(map(sum, shape))
    finished = [bool(end) for end in random.integers(0, 2, len(shape))]
    return batch_of(shape, random.normal(size=turns).tolist(), random.normal(size=tokens).tolist(), finished)


@FEW
@given(terms=st.lists(st.floats(-2, 2), max_size=40), seed=st.integers(0, 99))
def test_the_scan_is_the_plain_recursion(terms: list[float], seed: int) -> None:
    decay = np.random.default_rng(seed).choice([0.0, 0.5, 1.0], len(terms))
    expected, after = [], 0.0
    for index in reversed(range(len(terms))):
        after = terms[index] + (decay[index] * after if index + 1 < len(terms) else 0.0)
        expected.insert(0, after)
    found = reverse_scan(torch.tensor(terms, dtype=torch.float64), torch.from_numpy(decay))
    np.testing.assert_allclose(found.numpy(), np.array(expected), atol=1e-12)


def test_gae_never_reads_the_value_of_an_environment_token() -> None:
    # r = [0, 0, 1], V = [.5, .6, .7], m = [1, 0, 1]: the environment's token is not in the batch at all.
    credit = gae(batch_of([[1, 1]], [0.0, 1.0], [0.5, 0.7]), gamma=1.0, lam=0.5)
    assert credit.advantage_K.tolist() == pytest.approx([0.35, 0.3])
    assert credit.return_K is not None and credit.return_K.tolist() == pytest.approx([0.85, 1.0])


def test_gae_of_a_trajectory_that_a_limit_ended() -> None:
    cut = batch_of([[2]], [1.0], [0.2, 0.4], [False])
    assert gae(cut).advantage_K.tolist() == pytest.approx([0.8, 0.6])
    assert gae(cut, truncated="bootstrap").advantage_K.tolist() == pytest.approx([1.2, 1.0])
    known = replace(cut, bootstrap_N=torch.tensor([0.1], dtype=torch.float64))
    assert gae(known, truncated="bootstrap").advantage_K.tolist() == pytest.approx([0.9, 0.7])
    nothing = gae(cut, truncated="bootstrap", zero_truncated_reward=True)
    assert nothing.advantage_K.tolist() == pytest.approx([0.2, 0.0])
    done = replace(cut, finished_N=torch.tensor([True]))
    assert torch.equal(gae(done, truncated="bootstrap", zero_truncated_reward=True).advantage_K, gae(cut).advantage_K)


def test_bilevel_gae_by_hand_and_with_a_turn_that_earns_nothing() -> None:
    # V(e1) = .2, V(e2) = .4, r = (.1, 1), a token with V = .3 before e1.
    batch = batch_of([[2, 1]], [0.1, 1.0], [0.3, 0.2, 0.4])
    credit = bilevel_gae(batch, high_gamma=0.9)
    assert credit.advantage_K.tolist() == pytest.approx([0.7, 0.8, 0.6])
    # The reference sees no turn end where the reward is 0, and fails when the last one is.
    silent = bilevel_gae(batch_of([[2, 1]], [0.1, 0.0], [0.3, 0.2, 0.4]), high_gamma=0.9)
    assert silent.advantage_K.tolist() == pytest.approx([-0.2, -0.1, -0.4])


def test_turn_gae_teaches_the_critic_at_one_token_of_a_turn() -> None:
    batch = batch_of([[2, 3]], [0.5, 1.0], [0.1, 9.0, 0.3, 9.0, 9.0])
    credit = turn_gae(batch, gamma=0.9, lam=1.0)
    last = 1.0 - 0.3
    first = 0.5 + 0.9 * 0.3 - 0.1 + 0.9 * last
    assert credit.advantage_K.tolist() == pytest.approx([first] * 2 + [last] * 3)
    assert credit.target_K is not None and credit.return_K is not None
    assert credit.target_K.tolist() == [True, False, True, False, False]
    assert credit.return_K[credit.target_K].tolist() == pytest.approx([first + 0.1, 1.0])
    late = turn_gae(batch, anchor_token="last")
    assert late.target_K is not None and late.target_K.tolist() == [False, True, False, False, True]


def test_egae_assumes_that_nothing_changes_beyond_the_window() -> None:
    cut = batch_of([[3]], [0.0], [0.2, 0.3, 0.5], [False])
    credit = egae(cut, policy_lam=0.9, whitened=False)
    assert credit.advantage_K.tolist() == pytest.approx([0.28, 0.2, 0.0])
    assert credit.target_K is not None and not credit.target_K.any(), "an unfinished response has no value target"
    done = egae(batch_of([[3]], [1.0], [0.2, 0.3, 0.5]), policy_lam=0.9, whitened=False)
    assert done.return_K is not None and done.return_K.tolist() == pytest.approx([1.0] * 3), "Monte Carlo, whatever λ"
    assert done.advantage_K.tolist() == pytest.approx([0.1 + 0.9 * (0.2 + 0.9 * 0.5), 0.2 + 0.9 * 0.5, 0.5])


@FEW
@given(shape=SHAPES, seed=st.integers(0, 99), drop=st.integers(0, 3))
def test_egae_leaves_tokens_of_earlier_windows_exactly_without_credit(
    shape: list[list[int]], seed: int, drop: int
) -> None:
    batch = random_batch(shape, seed)
    tokens = len(batch.turn_K)
    fresh_K = torch.from_numpy(np.random.default_rng(seed).random(tokens) < 0.5)
    credit = egae(replace(batch, fresh_K=fresh_K), drop_last=drop)
    assert not credit.advantage_K[~fresh_K].any()
    trajectory_K = batch.trajectory_T[batch.turn_K]
    for number in range(len(shape)):
        if not batch.finished_N[number] and drop:
            assert not credit.advantage_K[trajectory_K == number][-drop:].any()


def test_poad_does_not_discount_inside_an_action() -> None:
    batch = batch_of([[2, 1]], [1.0, 0.0], [0.4, 0.6, 0.5])
    credit = poad(batch, gamma=0.95, lam=1.0)
    # The next action adds γλ A' to what the example of one action has: [1.075, .875].
    after = 0.95 * (0.0 - 0.5)
    assert credit.advantage_K.tolist() == pytest.approx([1.075 + after, 0.875 + after, -0.5])
    alone = replace(batch_of([[2]], [1.0], [0.4, 0.6], [False]), bootstrap_N=torch.tensor([0.5], dtype=torch.float64))
    assert poad(alone, gamma=0.95, lam=1.0).advantage_K.tolist() == pytest.approx([1.075, 0.875])
    assert poad(alone, backup="ntpo").advantage_K[0] < poad(alone).advantage_K[0]


def hiper_batch(finished: bool = True, switches: tuple[bool, ...] = (True, False, True)) -> CreditBatch:
    """Return one trajectory of turns with one switch, one subgoal and one action token each."""
    turns = len(switches)
    batch = batch_of([[3] * turns], [0.5, -0.25, 1.0][:turns], [0.0] * 3 * turns, [finished])
    random = np.random.default_rng(3)
    return replace(
        batch,
        value_K=torch.from_numpy(random.normal(size=(3 * turns, 3))),
        plan=Plan(torch.tensor(switches), torch.arange(turns), torch.tensor([0, 1, 2] * turns)),
    )


def test_hiper_credits_deciding_apart_from_acting() -> None:
    batch = hiper_batch()
    assert batch.value_K is not None
    credit = hiper_hae(
        batch, gamma=0.9, lam_turn=0.8, lam_seg=0.7, norm_adv=False, keep_penalty=0.0, keep_consistency_penalty=0.0
    )
    low, high, term = (batch.value_K[[1, 4, 7], 0], batch.value_K[[0, 3, 6], 1], batch.value_K[[0, 3, 6], 2])
    inside_2 = -0.25 + 0.9 * high[2] - low[1]
    inside_1 = 0.5 + 0.9 * low[1] - low[0] + 0.9 * 0.8 * inside_2
    second = 1.0 - high[2]
    first = 0.5 + 0.9 * -0.25 + 0.81 * high[2] - high[0] + 0.81 * 0.7 * second
    returns = [0.5 + 0.9 * (-0.25 + 0.9 * high[2]), -0.25 + 0.9 * high[2], torch.tensor(1.0)]
    expected = [
        *(returns[0] - term[0], first, inside_1),
        *(returns[1] - term[1], torch.tensor(0.0), inside_2),  # a kept subgoal is nobody's decision
        *(returns[2] - term[2], second, 1.0 - low[2]),
    ]
    assert credit.advantage_K.tolist() == pytest.approx([float(value) for value in expected])
    assert credit.target_K is not None
    assert credit.target_K.sum(0).tolist() == [3, 2, 3]


def test_hiper_penalties_and_missing_inputs() -> None:
    batch = hiper_batch()
    options = {"gamma": 1.0, "norm_adv": False, "keep_consistency_penalty": 0.0}
    free = hiper_hae(batch, keep_penalty=0.0, **options)
    fixed = hiper_hae(batch, keep_penalty=-0.3, **options)
    shared = hiper_hae(batch, keep_penalty=-0.3, keep_penalty_mode="normalized", **options)
    action_of_keep = 5
    assert float((fixed.advantage_K - free.advantage_K)[action_of_keep]) == pytest.approx(-0.3)
    assert float((shared.advantage_K - free.advantage_K)[action_of_keep]) == pytest.approx(-0.1)
    changed = hiper_hae(batch, keep_penalty=0.0, gamma=1.0, norm_adv=False, keep_consistency_penalty=-0.5)
    assert float((changed.advantage_K - free.advantage_K)[action_of_keep]) == pytest.approx(-0.5)
    with pytest.raises(ConfigError, match="plan"):
        hiper_hae(replace(batch, plan=None))
    with pytest.raises(ConfigError, match="three value heads"):
        hiper_hae(replace(batch, value_K=torch.zeros(9)))


@pytest.mark.parametrize("method", PLAIN)
@FEW
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_the_order_of_trajectories_changes_nothing(method: str, shape: list[list[int]], seed: int) -> None:
    """Rows are flat and unpadded: who stands beside a trajectory must not leak into its credit."""
    batch = random_batch(shape, seed)
    order = np.random.default_rng(seed).permutation(len(shape)).tolist()
    trajectory_K = batch.trajectory_T[batch.turn_K]
    tokens = torch.cat([torch.nonzero(trajectory_K == number).flatten() for number in order])
    turns = torch.cat([torch.nonzero(batch.trajectory_T == number).flatten() for number in order])
    assert batch.value_K is not None
    moved = batch_of(
        [shape[number] for number in order],
        batch.reward_T[turns].tolist(),
        batch.value_K[tokens].tolist(),
        batch.finished_N[order].tolist(),
    )
    one, other = (COMPOSITIONS[method].credit(part) for part in (batch, moved))
    torch.testing.assert_close(other.advantage_K, one.advantage_K[tokens], atol=1e-9, rtol=1e-7)
    assert one.return_K is not None and other.return_K is not None and other.target_K is not None
    torch.testing.assert_close(other.return_K, one.return_K[tokens], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("method", PLAIN)
@FEW
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_a_critic_that_knows_the_return_leaves_nothing_to_credit(
    method: str, shape: list[list[int]], seed: int
) -> None:
    """Values equal to the rewards to come give advantages of 0, before and after whitening."""
    batch = random_batch(shape, seed)
    batch = replace(batch, finished_N=torch.ones(len(shape), dtype=torch.bool))
    trajectory_K = batch.trajectory_T[batch.turn_K]
    last_K = torch.cat([batch.turn_K[1:] != batch.turn_K[:-1], torch.ones(1, dtype=torch.bool)])
    value_K = torch.zeros_like(batch.turn_K, dtype=torch.float64)
    after = 0.0
    for token in reversed(range(len(value_K))):
        if token + 1 == len(value_K) or trajectory_K[token + 1] != trajectory_K[token]:
            after = 0.0
        after = after + (float(batch.reward_T[batch.turn_K[token]]) if last_K[token] else 0.0)
        value_K[token] = after
    options = {"high_gamma": 1.0} if method == "bilevel_gae" else {}
    credit = COMPOSITIONS[method].credit(replace(batch, value_K=value_K), gamma=1.0, **options)
    assert float(credit.advantage_K.abs().max()) < 1e-6
    torch.testing.assert_close(credit.return_K, value_K, atol=1e-9, rtol=0)


@pytest.mark.parametrize("method", PLAIN)
def test_a_trajectory_cannot_see_the_rewards_of_another(method: str) -> None:
    """Micro-batches and data parallelism: targets of a trajectory are its own whatever stands beside it."""
    batch = random_batch([[2, 3], [1, 4, 2], [3]], 7)
    whole = COMPOSITIONS[method].credit(batch)
    other = replace(batch, reward_T=batch.reward_T + torch.tensor([0, 0, 5, 5, 5, 0]))
    moved = COMPOSITIONS[method].credit(other)
    own_K = batch.trajectory_T[batch.turn_K] != 1
    assert whole.return_K is not None and moved.return_K is not None
    torch.testing.assert_close(whole.return_K[own_K], moved.return_K[own_K], atol=1e-12, rtol=0)


def test_the_reward_of_a_turn_without_a_sampled_token_is_not_lost() -> None:
    batch = batch_of([[2, 0], [1]], [0.0, 1.0, 0.5], [0.0, 0.0, 0.0])
    assert gae(batch).advantage_K.tolist() == pytest.approx([1.0, 1.0, 0.5])
    assert turn_gae(batch).advantage_K.tolist() == pytest.approx([1.0, 1.0, 0.5])


def test_a_critic_method_without_a_critic_fails_before_the_run_and_says_how_to_add_one() -> None:
    available = set(Need) - {Need.CRITIC}
    for method in CRITIC:
        with pytest.raises(
            ConfigError, match=r"needs what this run lacks: a critic.*\[trainer\.critic\] kind = \"head\""
        ):
            check(method, available)
    check("gae", {Need.CRITIC}, ["gamma", "lam", "truncated"])
    with pytest.raises(ConfigError, match="did you mean 'lam'"):
        check("gae", {Need.CRITIC}, ["lamb"])
    with pytest.raises(ConfigError, match="critic"):
        assign("gae", replace(batch_of([[1]], [1.0], [0.0]), value_K=None))


def test_targets_come_with_their_mask_and_methods_without_a_critic_have_none() -> None:
    credit = assign_with_targets("gae", batch_of([[2]], [1.0], [0.5, 0.5]))
    assert credit.return_K is not None and credit.return_K.dtype is torch.float32
    assert assign_with_targets("grpo", batch_of([[2]], [1.0], [0.5, 0.5])).return_K is None
    with pytest.raises(ValueError, match="come together"):
        Credit(torch.zeros(2), torch.zeros(2))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("gae", {"truncated": "stop"}),
        ("turn_gae", {"anchor_token": "middle"}),
        ("poad", {"backup": "td"}),
        ("egae", {"length_alpha": 0.0}),
    ],
)
def test_options_that_mean_nothing_are_refused(method: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        assign(method, batch_of([[2]], [1.0], [0.5, 0.5]), **options)
