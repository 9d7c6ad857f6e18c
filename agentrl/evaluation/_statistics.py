"""Estimates from repeated attempts: intervals that know which attempts share a task, and pass@k."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.95
"""Confidence level of every interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its confidence interval.

    Attributes:
        mean: Mean over all values.
        low, high: 95 % interval; None where one task alone says nothing about others.
        count: Number of values.
        clusters: Number of tasks they come from.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    clusters: int


def estimate(values: Sequence[float], tasks: Sequence[Hashable]) -> Estimate | None:
    """Return the mean of values with a 95 % interval for new tasks, or None without values.

    Attempts at one task are alike, so tasks, not attempts, are the sample. Values that are all 0 or 1 get the Wilson
    score interval, with the number of attempts divided by the design effect (1 with one attempt per task); others get
    the cluster-robust t interval.

    Args:
        values: One per attempt.
        tasks: The task of each, in the same order.
    """
    if not values:
        return None
    count, mean = len(values), sum(values) / len(values)
    deviations: dict[Hashable, float] = defaultdict(float)
    for value, task in zip(values, tasks, strict=True):
        deviations[task] += value - mean
    clusters = len(deviations)
    variance = _cluster_variance(list(deviations.values()), count)
    if set(values) <= {0, 1}:
        low, high = wilson(mean, _effective_size(mean, variance, count, clusters))
        return Estimate(mean, low, high, count, clusters)
    if variance is None:
        return Estimate(mean, None, None, count, clusters)
    half = student_quantile(clusters - 1) * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half, count, clusters)


def wilson(share: float, size: float) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share observed on `size` independent trials (E. B. Wilson, 1927)."""
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    centre = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    return max(0.0, centre - half), min(1.0, centre + half)


def student_quantile(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t.

    Exact for one and two degrees; beyond, the Cornish-Fisher expansion about the normal quantile (Abramowitz and
    Stegun, 26.7.5), within 0.3 % from three degrees on.
    """
    tail = 0.5 + LEVEL / 2
    if degrees == 1:
        return math.tan(math.pi * (tail - 0.5))
    if degrees == 2:
        return (2 * tail - 1) / math.sqrt(2 * tail * (1 - tail))
    z, v = NormalDist().inv_cdf(tail), degrees
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def pass_at_k(attempts: int, successes: int, k: int) -> float:
    """Return the chance that at least one of k attempts succeeds, unbiased from n ≥ k attempts (Chen et al., 2021)."""
    return 1 - math.comb(attempts - successes, k) / math.comb(attempts, k)


def pass_all_k(attempts: int, successes: int, k: int) -> float:
    """Return the chance that all of k attempts succeed (pass^k), unbiased from n ≥ k attempts (Yao et al., 2024)."""
    return math.comb(successes, k) / math.comb(attempts, k)


def _cluster_variance(deviations: Sequence[float], count: int) -> float | None:
    """Return the variance of the mean from the summed deviations of each cluster; None with one cluster."""
    clusters = len(deviations)
    if clusters < 2:
        return None
    return clusters / (clusters - 1) * sum(deviation**2 for deviation in deviations) / count**2


def _effective_size(share: float, variance: float | None, count: int, clusters: int) -> float:
    """Return the number of independent trials that a clustered sample of 0s and 1s is worth."""
    if clusters == count:
        return count
    if variance is None or variance == 0 or share in (0, 1):
        # Nothing varies between tasks, so how alike their attempts are cannot be told: count the tasks.
        return clusters
    return min(count, share * (1 - share) / variance)
