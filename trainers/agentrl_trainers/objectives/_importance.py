"""Importance weights between the proximal and the behaviour policy, and filters on them. K = sampled tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.objectives._ppo import LOG_RATIO_BOUND

Level = Literal["token", "sequence"]
Action = Literal["mask", "clamp"]
Metric = Literal["ratio", "k1", "k2", "k3"]


@dataclass(frozen=True)
class ImportanceWeights:
    """Weights without gradient.

    Attributes:
        weight_K: Weight of each token; 0 where it is dropped.
        filtered_K: Dropped or clamped tokens.
    """

    weight_K: torch.Tensor
    filtered_K: torch.Tensor


def importance_weights(
    proximal_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    cap: float | None = 5.0,
    floor: float | None = None,
    action: Action = "mask",
    metric: Metric = "ratio",
    level: Level = "token",
) -> ImportanceWeights:
    """Return w = exp(proximal − behaviour), in float32 and without gradient, filtered.

    Args:
        proximal_K: Log-probs at the start of the update.
        behaviour_K: Log-probs of the sampler.
        sequence_K: Row of each token (int64, from 0); needed at level "sequence".
        cap: Largest value of the metric that is kept, or None.
        floor: Smallest value of the metric that is kept, or None.
        action: "mask" gives tokens outside a weight of 0, "clamp" the nearest bound.
        metric: What is compared with the bounds: the weight itself, or an estimate of the divergence between the two
            policies from d = proximal − behaviour: k1 = d, k2 = d²/2, k3 = exp(−d) − 1 + d (as AReaL has them).
        level: "sequence" filters whole rows by their mean metric; by the metric "ratio" it also gives every token the
            geometric mean of its row as weight.

    Raises:
        ConfigError: Clamping by another metric than the weight itself has no meaning.
        ValueError: Level "sequence" without `sequence_K`.
    """
    if action == "clamp" and metric != "ratio":
        raise ConfigError(f'importance action "clamp" needs the metric "ratio", got {metric!r}; use action "mask"')
    gap_K = (proximal_K.detach().float() - behaviour_K.float()).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    measure_K = _divergence(gap_K, metric)
    if level == "sequence":
        if sequence_K is None:
            raise ValueError("importance weights by sequence need sequence_K")
        measure_K = _sequence_mean(measure_K, sequence_K)
        gap_K = measure_K if metric == "ratio" else gap_K
    weight_K = gap_K.exp()
    measure_K = weight_K if metric == "ratio" else measure_K
    filtered_K = torch.zeros_like(measure_K, dtype=torch.bool)
    if cap is not None:
        filtered_K |= measure_K > cap
    if floor is not None:
        filtered_K |= measure_K < floor
    weight_K = weight_K.masked_fill(filtered_K, 0) if action == "mask" else _clamp(weight_K, floor, cap)
    return ImportanceWeights(weight_K, filtered_K)


def _clamp(weight_K: torch.Tensor, floor: float | None, cap: float | None) -> torch.Tensor:
    return weight_K if floor is None and cap is None else weight_K.clamp(floor, cap)


def _divergence(gap_K: torch.Tensor, metric: Metric) -> torch.Tensor:
    match metric:
        case "ratio" | "k1":
            return gap_K
        case "k2":
            return gap_K.square() / 2
        case "k3":
            return (-gap_K).expm1() + gap_K


def _sequence_mean(values_K: torch.Tensor, sequence_K: torch.Tensor) -> torch.Tensor:
    rows = int(sequence_K.max()) + 1 if sequence_K.numel() else 0
    total = values_K.new_zeros(rows).index_add_(0, sequence_K, values_K)
    count = values_K.new_zeros(rows).index_add_(0, sequence_K, torch.ones_like(values_K))
    return (total / count.clamp(min=1))[sequence_K]
