"""The intervals cover what they promise, and pass@k equals counting."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.evaluation import estimate, pass_all_k, pass_at_k
from agentrl.evaluation._statistics import student_quantile, wilson


@given(attempts=st.integers(1, 9), successes=st.integers(0, 9), k=st.integers(1, 9))
def test_pass_at_k_equals_counting_all_choices(attempts: int, successes: int, k: int) -> None:
    successes, k = min(successes, attempts), min(k, attempts)
    outcomes = [True] * successes + [False] * (attempts - successes)
    choices = list(itertools.combinations(outcomes, k))
    assert math.isclose(pass_at_k(attempts, successes, k), np.mean([any(choice) for choice in choices]), abs_tol=1e-12)
    assert math.isclose(pass_all_k(attempts, successes, k), np.mean([all(choice) for choice in choices]), abs_tol=1e-12)


def test_wilson_against_published_figures() -> None:
    # Newcombe (1998), table I: 81/263 and 15/148, 0/20, 1/29.
    for successes, size, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(successes / size, size) == pytest.approx((low, high), abs=5e-5)


def test_student_quantiles_against_tables() -> None:
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 30: 2.042, 299: 1.968}
    for degrees, quantile in table.items():
        assert student_quantile(degrees) == pytest.approx(quantile, rel=3e-3)


@pytest.mark.parametrize("attempts", [1, 4])
def test_intervals_of_success_cover_nineteen_in_twenty(attempts: int) -> None:
    """Tasks differ in difficulty; the interval speaks of new tasks, so attempts at one task are no independent data."""
    rng = np.random.default_rng(1)
    covered, naive = 0, 0
    trials, tasks = 1000, 60
    for _ in range(trials):
        chances = rng.beta(0.8, 1.2, tasks)  # mean 0.4
        values = (rng.random((tasks, attempts)) < chances[:, None]).astype(float)
        names = np.repeat(np.arange(tasks), attempts)
        found = estimate(values.ravel().tolist(), names.tolist())
        assert found is not None and found.low is not None and found.high is not None
        covered += found.low <= 0.4 <= found.high
        low, high = wilson(found.mean, values.size)
        naive += low <= 0.4 <= high
    assert 0.93 <= covered / trials <= 0.975
    if attempts > 1:
        assert naive / trials < 0.85


def test_intervals_of_rewards_cover_nineteen_in_twenty() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(600):
        values = rng.normal(0.5, 1.0, 12)[:, None] + rng.normal(0, 0.5, (12, 3))
        found = estimate(values.ravel().tolist(), np.repeat(np.arange(12), 3).tolist())
        assert found is not None and found.low is not None and found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert 0.93 <= covered / 600 <= 0.975


def test_one_task_tells_nothing_about_others() -> None:
    found = estimate([0.5, 0.7], ["a", "a"])
    assert found is not None
    assert (found.low, found.high) == (None, None)


def test_attempts_that_all_agree_count_as_tasks() -> None:
    found = estimate([1.0] * 40, [index // 4 for index in range(40)])
    assert found is not None
    assert found.low == pytest.approx(wilson(1.0, 10)[0])


def test_nothing_is_no_estimate() -> None:
    assert estimate([], []) is None
