"""Comparison of steps with others of their kind. Axis legend: R = rows (turns)."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._segments import GroupStatistics

Normalisation = Literal["mean_norm", "mean_std_norm"]
EPSILON = 1e-6


def relative(
    statistics: GroupStatistics, mode: Normalisation, *, population: bool = False, epsilon: float = EPSILON
) -> torch.Tensor:
    """Return each row minus its group's mean, by "mean_std_norm" also divided by std + ε; 0 in a group of one [R].

    Args:
        statistics: Of the rows within their groups.
        mode: "mean_norm" or "mean_std_norm".
        population: Divide by the population deviation (n) and not by the unbiased one (n−1).
        epsilon: ε.

    Raises:
        ConfigError: Unknown mode.
    """
    if mode not in get_args(Normalisation):
        raise ConfigError(f"mode = {mode!r}: expected one of {', '.join(get_args(Normalisation))}")
    if mode == "mean_norm":
        return statistics.centred_N
    deviation_R = population_deviation(statistics) if population else statistics.deviation_N
    return statistics.centred_N / (deviation_R + epsilon)


def population_deviation(statistics: GroupStatistics) -> torch.Tensor:
    """Return the population (n) standard deviation of each row's group [R]."""
    return statistics.deviation_N * ((statistics.count_N - 1).clamp(min=0) / statistics.count_N).sqrt()
