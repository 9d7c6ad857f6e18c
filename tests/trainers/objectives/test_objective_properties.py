"""What must hold of objectives whatever the log-probs are, and the worked examples of their definitions."""

from __future__ import annotations

import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl_trainers.objectives import (
    OBJECTIVES,
    BoundObjective,
    Bounds,
    Criterion,
    WholeBatch,
    approximate_proximal,
    astar_residual,
    bapo_bounds,
    cispo,
    clip_cov_selection,
    correction_weights,
    dppo,
    entropy_smoothing,
    gbpo,
    gspo,
    gvpo_residual,
    kl_cov_selection,
    likelihood_preserving,
    m2po_mask,
    median_relative,
    objective,
    off_policy_sequences,
    optimal_value,
    per_token,
    rebel_residual,
    regression,
    rejection_mask,
    sapo,
    value_loss,
)
from agentrl_trainers.objectives._sequences import geometric_ratio

NAMES = sorted(OBJECTIVES)
CORRECTIONS = ("tis", "icepop", "mis")


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def batch_of(seed: int, rows: int = 6, gap: float = 0.3) -> dict[str, torch.Tensor]:
    """Return random tokens of `rows` sequences of unequal length, members of groups of three."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 6, (rows,), generator=random)
    sequence_K = torch.repeat_interleave(torch.arange(rows), lengths)
    count = len(sequence_K)

    def draw() -> torch.Tensor:
        return torch.randn(count, generator=random, dtype=torch.float64)

    proximal_K = -draw().abs() - 0.05
    return {
        "logprob_K": proximal_K + gap * draw(),
        "proximal_K": proximal_K,
        "behaviour_K": proximal_K + gap * draw(),
        "advantage_K": torch.randn(rows, generator=random, dtype=torch.float64)[sequence_K],
        "sequence_K": sequence_K,
    }


def prepared_for(bound: BoundObjective, batch: dict[str, torch.Tensor]) -> dict[str, Any]:
    old_K = bound.old(batch["proximal_K"], batch["behaviour_K"])
    return bound.prepare(
        WholeBatch(
            logprob_K=batch["logprob_K"],
            old_K=old_K,
            advantage_K=batch["advantage_K"],
            trajectory_K=batch["sequence_K"],
            group_K=batch["sequence_K"] // 3,
            generator=torch.Generator().manual_seed(0),
        )
    )


def gradient(
    bound: BoundObjective, batch: dict[str, torch.Tensor], prepared: dict[str, Any], keep_K: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the gradient of the sum of losses by each log-prob, where kept."""
    keep_K = torch.ones_like(batch["sequence_K"], dtype=torch.bool) if keep_K is None else keep_K
    part = {name: value[keep_K] for name, value in batch.items()}
    logprob_K = part.pop("logprob_K").clone().requires_grad_()
    cut = {name: value[keep_K] if name.endswith("_K") else value for name, value in prepared.items()}
    result = bound(logprob_K, **part, prepared=cut)
    (grad_K,) = torch.autograd.grad(result.loss_K.sum(), logprob_K)
    spread_K = torch.zeros_like(batch["logprob_K"])
    spread_K[keep_K] = grad_K
    return spread_K


SPLITS = [(name, "none") for name in NAMES] + [(name, kind) for name in ("gspo", "bapo") for kind in CORRECTIONS]


@pytest.mark.parametrize(("name", "mismatch"), SPLITS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_whole_rows_may_be_split_into_micro_batches_in_any_order(name: str, mismatch: str, seed: int) -> None:
    bound = objective(name, mismatch=mismatch)
    batch = batch_of(seed)
    prepared = prepared_for(bound, batch)
    whole = gradient(bound, batch, prepared)
    parts = torch.zeros_like(whole)
    for rows in ((4,), (0, 2), (5, 1, 3)):
        parts += gradient(bound, batch, prepared, torch.isin(batch["sequence_K"], torch.tensor(rows)))
    torch.testing.assert_close(parts, whole, atol=1e-12, rtol=1e-12)
    assert whole.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_on_policy_every_objective_is_the_policy_gradient(name: str) -> None:
    """With all policies equal, no clip, gate, filter or penalty bites: the gradient is −A (or has its sign)."""
    if name in ("gvpo", "rebel", "clip_cov", "gbpo"):
        return  # regressions on other scales, silenced tokens and targets off 1: tests of their own
    batch = batch_of(3, gap=0.0)
    bound = objective(name)
    found = gradient(bound, batch, prepared_for(bound, batch))
    expected = -batch["advantage_K"]
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_without_advantage_have_no_gradient_unless_the_method_says_so(name: str) -> None:
    batch = batch_of(5)
    batch["advantage_K"] = batch["advantage_K"] * (batch["sequence_K"] % 2)
    bound = objective(name)
    found = gradient(bound, batch, prepared_for(bound, batch))[batch["advantage_K"] == 0]
    assert OBJECTIVES[name].everywhere or torch.count_nonzero(found) == 0


@pytest.mark.parametrize("name", NAMES)
def test_tokens_far_off_give_finite_losses_and_gradients(name: str) -> None:
    batch = batch_of(1)
    batch["logprob_K"][0], batch["behaviour_K"][1], batch["proximal_K"][-1] = -700.0, -700.0, -700.0
    bound = objective(name)
    assert gradient(bound, batch, prepared_for(bound, batch)).isfinite().all()


def test_a_sequence_ratio_has_the_gradient_of_the_whole_sequence() -> None:
    log_ratio_K = tensor([0.1, -0.3, 0.2]).requires_grad_()
    sequence_K = torch.tensor([0, 0, 1])
    ratio_K = geometric_ratio(log_ratio_K, sequence_K)
    assert ratio_K.tolist() == pytest.approx([math.exp(-0.1)] * 2 + [math.exp(0.2)])
    (token,) = torch.autograd.grad((ratio_K / tensor([2, 2, 1])).sum(), log_ratio_K)
    (exact,) = torch.autograd.grad(log_ratio_K[:2].mean().exp() + log_ratio_K[2].exp(), log_ratio_K)
    torch.testing.assert_close(token, exact)


def test_the_two_conventions_of_cispo_are_apart() -> None:
    """ρ = 2: a distance of .28 caps at 1.28, a cap of 1.28 is that itself, and 5.0 as a distance would be 6."""
    old, advantage = tensor([-1.0 - math.log(2)]), tensor([1.0])
    for options, expected in (
        ({"clip_high": 0.28}, -1.28),
        ({"cap": 1.28}, -1.28),
        ({"cap": 0.28}, -0.28),
        ({"clip_high": 5.0}, -2.0),
    ):
        logprob = tensor([-1.0]).requires_grad_()
        (grad,) = torch.autograd.grad(cispo(logprob, old, advantage, **options).loss_K.sum(), logprob)
        assert grad.item() == pytest.approx(expected)


def test_worked_examples() -> None:
    ratio = tensor([math.log(1.5)])
    assert sapo(ratio, 0 * ratio, tensor([1.0])).loss_K.item() == pytest.approx(-2.4898, abs=1e-4)
    assert gspo(
        tensor([0.1, -0.3]), tensor([0.0, 0.0]), tensor([-1.0, -1.0]), sequence_K=torch.tensor([0, 0]), clip_low=0.2
    ).loss_K.tolist() == pytest.approx([0.9048] * 2, abs=1e-4)
    assert optimal_value(tensor([[1.0, 0.0]])).item() == pytest.approx(0.717, abs=1e-3)
    advantage_N = tensor([2 / 3, -1 / 3, -1 / 3]) / (math.sqrt(1 / 3) + 1e-6)
    target_N = median_relative(advantage_N, torch.tensor([0, 0, 0]))
    aims = 0.8 + 0.4 * torch.sigmoid(target_N)
    assert aims.tolist() == pytest.approx([1.140, 1.0, 1.0], abs=1e-3)
    one = gbpo(tensor([0.0]), tensor([0.0]), tensor([2.0]), target_K=target_N[:1], clip_low=0.2, clip_high=0.2)
    assert one.loss_K.item() == pytest.approx(0.28, abs=1e-3)
    corrected = correction_weights(tensor([-1.0]), tensor([-2.0])).weight_K.item()
    kept = correction_weights(tensor([-1.0]), tensor([-2.0]), lower=0.5, upper=5.0).weight_K.item()
    dropped = correction_weights(tensor([-1.0]), tensor([-2.0]), lower=0.5, upper=2.0).weight_K.item()
    assert (corrected, kept, dropped) == pytest.approx((2.0, math.e, 0.0))


def test_medians_of_groups_of_any_size() -> None:
    values = tensor([3.0, 1.0, 5.0, 9.0, 2.0, 4.0])
    groups = torch.tensor([0, 1, 0, 2, 0, 2])
    assert median_relative(values, groups).tolist() == [0.0, 1.0, 2.0, 2.5, -1.0, -2.5]


def test_regressions_have_value_and_gradient_of_their_definitions() -> None:
    batch = batch_of(7)
    sequence_K, group_N = batch["sequence_K"], torch.tensor([0, 0, 0, 1, 1, 1])
    logprob_K = batch["logprob_K"].clone().requires_grad_()
    old_K = batch["proximal_K"]
    reward_N = tensor([1.0, 0.0, 0.5, 0.2, 0.9, 0.4])
    centred_N = reward_N - reward_N.view(2, 3).mean(-1).repeat_interleave(3)
    gap_N = torch.zeros(6, dtype=torch.float64).index_add(0, sequence_K, logprob_K - old_K)

    error_N = 0.1 * gap_N
    error_N = error_N - error_N.view(2, 3).mean(-1).repeat_interleave(3) - centred_N  # the mean *with* a gradient
    gvpo = error_N.square().sum() / (2 * 2)
    pairs = [(i, j) for group in ((0, 1, 2), (3, 4, 5)) for i, j in itertools.combinations(group, 2)]
    rebel = sum(((gap_N[i] - gap_N[j]) / 2 - (reward_N[i] - reward_N[j])).square() for i, j in pairs) / 3
    astar = (0.5 * gap_N - centred_N).square().sum()
    for exact, residual in (
        (gvpo, gvpo_residual(gap_N.detach(), centred_N, group_N)),
        (rebel, rebel_residual(gap_N.detach(), centred_N, group_N, eta=2.0)),
        (astar, astar_residual(gap_N.detach(), centred_N, beta=0.5)),
    ):
        assert isinstance(exact, torch.Tensor)
        losses = regression(logprob_K, old_K, old_K, **per_token(residual, sequence_K)).loss_K.sum()
        (expected_K,) = torch.autograd.grad(exact, logprob_K, retain_graph=True)
        (found_K,) = torch.autograd.grad(losses, logprob_K)
        assert losses.item() == pytest.approx(exact.item())
        torch.testing.assert_close(found_K, expected_K)


def test_ranks_that_add_up_their_sums_find_the_bounds_of_the_whole_batch() -> None:
    batch = batch_of(11, rows=12)
    whole = bapo_bounds(batch["logprob_K"], batch["proximal_K"], batch["advantage_K"], target=1.1)
    meeting = threading.Barrier(2, timeout=10)
    parts = [torch.zeros(2, dtype=torch.float64)] * 2

    def rank(number: int) -> Bounds:
        mine = (batch["sequence_K"] < 6) == (number == 0)

        def reduce(sums: torch.Tensor) -> torch.Tensor:
            parts[number] = sums
            meeting.wait()
            total = parts[0] + parts[1]
            meeting.wait()
            return total

        values = (batch[name][mine] for name in ("logprob_K", "proximal_K", "advantage_K"))
        return bapo_bounds(*values, target=1.1, reduce=reduce)

    with ThreadPoolExecutor(2) as ranks:
        for found in ranks.map(rank, range(2)):
            assert (found.lowest, found.highest) == (whole.lowest, whole.highest)
            assert found.balance == pytest.approx(whole.balance)
    assert (whole.lowest, whole.highest) != (0.6, 1.2), "the search had nothing to do"


def test_covariance_selections_are_of_the_whole_batch_and_repeatable() -> None:
    batch = batch_of(2, rows=200)
    arguments = (batch["logprob_K"], batch["proximal_K"], batch["advantage_K"])
    options: dict[str, Any] = {"fraction": 0.02, "low": 0.1}
    one, two = (clip_cov_selection(*arguments, **options, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    other = clip_cov_selection(*arguments, **options, generator=torch.Generator().manual_seed(5))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert int(one.sum()) == int(0.02 * len(one)) == int(other.sum())
    held = kl_cov_selection(batch["logprob_K"], batch["advantage_K"], fraction=0.01)
    centred = (batch["advantage_K"] - batch["advantage_K"].mean()) * (batch["logprob_K"] - batch["logprob_K"].mean())
    assert centred[held].min() >= centred[~held].max() and int(held.sum()) == int(0.01 * len(held))


@given(gaps=st.lists(st.floats(-2, 2), min_size=1, max_size=30), threshold=st.floats(0.01, 1))
def test_m2po_drops_the_farthest_and_no_more_than_it_must(gaps: list[float], threshold: float) -> None:
    gap_K = tensor(gaps)
    keep_K = m2po_mask(gap_K, 0 * gap_K, threshold=threshold)
    moment_K = gap_K.square()
    assert keep_K.any()
    assert int(keep_K.sum()) == 1 or moment_K[keep_K].mean() < threshold
    if not keep_K.all():
        nearest = moment_K[~keep_K].min()
        assert nearest >= moment_K[keep_K].max()
        assert (moment_K[keep_K].sum() + nearest) / (int(keep_K.sum()) + 1) >= threshold - 1e-12


def test_likelihood_is_preserved_only_where_a_good_unit_lost_some() -> None:
    old_K = tensor([-1.0, -1.0, -1.0, -1.0, -1.0])
    logprob_K = tensor([-0.9, -1.3, -0.5, -1.3, -2.0]).requires_grad_()
    unit_K = torch.tensor([0, 0, 1, 1, 2])  # lost .2; gained .2; lost 1 but was bad
    term_K = likelihood_preserving(logprob_K, old_K, tensor([1.0, 1, 1, 1, -1]), unit_K=unit_K, coefficient=0.1)
    assert term_K.tolist() == pytest.approx([0, 0.03, 0, 0, 0])
    (grad_K,) = torch.autograd.grad(term_K.sum(), logprob_K)
    assert grad_K.tolist() == pytest.approx([0, -0.1, 0, 0, 0])
    bound = objective("ppo_clip", options={"likelihood_preserving": 0.1})
    plain = objective("ppo_clip")
    given = (logprob_K, old_K, old_K, tensor([1.0, 1, 1, 1, -1]))
    added_K = bound(*given, sequence_K=unit_K).loss_K - plain(*given, sequence_K=unit_K).loss_K
    assert added_K.tolist() == pytest.approx([0, 0.03, 0, 0, 0]) and bound.everywhere


def test_entropy_smoothing_pushes_back_into_the_corridor_and_only_from_outside() -> None:
    entropy_K = tensor([0.5, 0.9, 1.1, 1.5]).requires_grad_()
    penalty_K = entropy_smoothing(entropy_K, tensor([1.0] * 4))
    assert penalty_K.tolist() == pytest.approx([0.3, 0, 0, 0.3])
    (grad_K,) = torch.autograd.grad(penalty_K.sum(), entropy_K)
    assert grad_K.tolist() == [-1, 0, 0, 1]
    by_row_K = entropy_smoothing(tensor([0.5, 1.7]), tensor([1.0, 1.0]), sequence_K=torch.tensor([0, 0]))
    assert by_row_K.tolist() == pytest.approx([0, 0])


def test_dppo_drops_what_moved_too_far_the_way_it_is_pushed() -> None:
    old_K = tensor([0.5, 0.5, 0.001, 0.5]).log()
    new_K = tensor([0.8, 0.8, 0.002, 0.2]).log().requires_grad_()
    result = dppo(new_K, old_K, tensor([1.0, -1.0, 1.0, -1.0]))
    # A rare token may double: its probability hardly moves.
    assert result.clipped_K.tolist() == [True, False, False, True]
    (grad_K,) = torch.autograd.grad(result.loss_K.sum(), new_K)
    assert grad_K.tolist() == pytest.approx([0, 1.6, -2, 0])


def test_bad_sequences_of_another_policy_are_left_out_and_good_ones_stay() -> None:
    keep_K = off_policy_sequences(
        tensor([-2.0, -2.0, -2.0, -1.1]),
        tensor([-1.0] * 4),
        tensor([-1.0, -1, 1, -1]),
        torch.tensor([0, 0, 1, 2]),
        threshold=0.5,
    )
    assert keep_K.tolist() == [False, False, True, True]


def test_one_criterion_of_several_is_enough_to_reject() -> None:
    criteria = Criterion.parse("token_k2,seq_mean_k1", "0.5,0.5_2")
    gap_K, sequence_K = tensor([0.1, 1.2, -0.9, -0.9, 0.0]), torch.tensor([0, 0, 1, 1, 2])
    keep_K = rejection_mask(gap_K, 0 * gap_K, sequence_K, criteria)
    assert keep_K.tolist() == [True, False, False, False, True]


def test_the_proximal_policy_is_interpolated_by_version() -> None:
    behaviour_K, logprob_K = tensor([-2.0, -2.0, -2.0, -2.0]), tensor([-1.0] * 4)
    found = approximate_proximal(logprob_K, behaviour_K, torch.tensor([9, 8, 10, -1]), 10)
    assert found.tolist() == pytest.approx([-2.0, -1.5, -2.0, -2.0])


def test_a_value_beyond_its_range_learns_nothing_when_it_moved_the_right_way() -> None:
    value_K = tensor([0.5, 0.1]).requires_grad_()
    result = value_loss(value_K, tensor([0.0, 0.0]), tensor([1.0, 1.0]), clip=0.2)
    (grad_K,) = torch.autograd.grad(result.loss_K.sum(), value_K)
    assert grad_K.tolist() == pytest.approx([0.0, -0.9]) and result.clipped_K.tolist() == [True, False]
    assert value_loss(tensor([30.0]), tensor([0.0]), tensor([0.0]), clip=None, kind="huber").loss_K.item() == 250
