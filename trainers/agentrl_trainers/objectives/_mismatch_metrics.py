"""How far the engine's policy is from the trainer's, in figures. K = sampled tokens, S = sequences.

Definitions are those of verl's rollout correction, so that runs can be compared. Give the whole batch: several are
standard deviations and extremes, which micro-batches cannot add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from agentrl_trainers.objectives._mismatch import COUNT_GUARD, Correction
from agentrl_trainers.objectives._ppo import LOG_RATIO_BOUND
from agentrl_trainers.objectives._rejection import Criterion, rejection_mask
from agentrl_trainers.objectives._sequences import sequence_max, sequence_mean, sequence_sum


def weight_metrics(
    correction: Correction,
    proximal_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    sequence_K: torch.Tensor,
    *,
    level: Literal["token", "sequence"] = "token",
    upper: float = 2.0,
    lower: float | None = None,
) -> dict[str, float]:
    """Return figures of importance weights, before normalisation.

    mean, std, max and min of the weights (at level "sequence", max and min of the products before truncation);
    ratio_fraction_high and _low: share beyond the bounds, the lower bound being 1/upper where there is none;
    eff_sample_size: 1/mean((w/mean w)²), 0 where every weight is 0; seq_…: the same of each sequence's mean weight;
    oob_ratio: share that IcePop dropped.

    Args:
        correction: Of `correction_weights`, with the same options.
        proximal_K: Trainer's log-probs.
        behaviour_K: Engine's log-probs.
        sequence_K: Sequence of each token.
        level: As for the weights.
        upper: As for the weights.
        lower: As for the weights.
    """
    weight_K, raw_K = correction.weight_K * correction.factor, correction.raw_K
    floor = 1 / upper if lower is None else lower
    mean_S, raw_S = _by_sequence(weight_K, sequence_K), _by_sequence(raw_K, sequence_K)
    bounded_K = weight_K.clamp(0, upper)
    metrics = {"mean": _mean(weight_K)}
    if level == "sequence":
        total_S = sequence_sum(proximal_K - behaviour_K, sequence_K)[torch.bincount(sequence_K) > 0]
        metrics |= {
            "max": math.exp(min(float(total_S.max()), LOG_RATIO_BOUND)),
            "min": math.exp(float(total_S.min())),
            "ratio_fraction_high": _share(total_S > math.log(upper)),
            "ratio_fraction_low": _share(total_S < math.log(floor)),
        }
    else:
        metrics |= {
            "max": float(weight_K.max()),
            "min": float(weight_K.min()),
            "ratio_fraction_high": _mean(raw_K > upper),
            "ratio_fraction_low": _mean(raw_K < floor),
        }
    relative_K = bounded_K / (_mean(bounded_K) + COUNT_GUARD)
    spread = _mean(relative_K.square())
    metrics |= {
        "std": _deviation(bounded_K),
        "eff_sample_size": 1 / spread if spread else 0.0,
        "seq_mean": float(mean_S.mean()),
        "seq_std": float(mean_S.std()) if len(mean_S) > 1 else 0.0,
        "seq_max": float(mean_S.max()),
        "seq_min": float(mean_S.min()),
        "seq_max_deviation": float((mean_S - 1).abs().max()),
        "seq_fraction_high": _share(raw_S > upper),
        "seq_fraction_low": _share(raw_S < floor),
    }
    if lower is not None:
        metrics["oob_ratio"] = _mean((raw_K > upper) | (raw_K < lower))
    return metrics


def rejection_metrics(
    proximal_K: torch.Tensor, behaviour_K: torch.Tensor, sequence_K: torch.Tensor, criteria: Sequence[Criterion]
) -> dict[str, float]:
    """Return, for each criterion, figures of its statistic and what it dropped, and what all of them dropped together.

    Keys are `<criterion>_<figure>`: mean, std (within the bounds), max, min, fraction_high and fraction_low (beyond
    the bounds), masked_fraction (tokens), seq_masked_fraction (sequences that lost a token), seq_… of its mean by
    sequence; and, without a criterion, masked_fraction and seq_masked_fraction of the whole mask.
    """
    gap_K = proximal_K - behaviour_K
    metrics: dict[str, float] = {}
    for criterion in criteria:
        value_K = criterion.measure(gap_K, sequence_K)
        lowest, highest = criterion.limits
        if criterion.level == "token":
            value_S = _by_sequence(value_K, sequence_K)
            high, low = _mean(value_K > highest), _mean(value_K < lowest)
            largest, smallest = float(value_K.max()), float(value_K.min())
        else:
            value_S = sequence_max(value_K, sequence_K)[torch.bincount(sequence_K) > 0]
            high, low = _share(value_S > highest), _share(value_S < lowest)
            largest, smallest = float(value_S.max()), float(value_S.min())
        two_sided = math.isfinite(lowest)
        figures = {
            "mean": _mean(value_K),
            "max": largest,
            "min": smallest,
            "fraction_high": high,
            "fraction_low": low,
            "std": _deviation(value_K.clamp(lowest if two_sided else 0.0, highest)),
            "seq_mean": float(value_S.mean()),
            "seq_std": float(value_S.std()) if len(value_S) > 1 else 0.0,
            "seq_max": float(value_S.max()),
            "seq_min": float(value_S.min()),
            "seq_max_deviation": float(value_S.abs().max()),
            "seq_fraction_high": _share(value_S > highest),
            **({"seq_fraction_low": _share(value_S < lowest)} if two_sided else {}),
            **_dropped(criterion.keep(value_K), sequence_K),
        }
        metrics |= {f"{criterion.name}_{name}": value for name, value in figures.items()}
    return metrics | _dropped(rejection_mask(proximal_K, behaviour_K, sequence_K, criteria), sequence_K)


def off_policy_metrics(
    proximal_K: torch.Tensor, behaviour_K: torch.Tensor, sequence_K: torch.Tensor
) -> dict[str, float]:
    """Return divergences between trainer and engine, over tokens and over sequences.

    kl and k3_kl: estimates of KL(engine ‖ trainer) in nats; training_ppl and rollout_ppl (and log_…): perplexities,
    means over sequences; log_ppl_diff, its absolute mean and extremes, and ppl_ratio; chi2_token and chi2_seq: χ² of
    the ratio of a token and of the product of a sequence.
    """
    gap_K = proximal_K - behaviour_K
    trainer_S, engine_S = -_by_sequence(proximal_K, sequence_K), -_by_sequence(behaviour_K, sequence_K)
    difference_S = trainer_S - engine_S
    product_S = sequence_sum(gap_K, sequence_K)[torch.bincount(sequence_K) > 0].clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    return {
        "training_ppl": float(trainer_S.exp().mean()),
        "training_log_ppl": float(trainer_S.mean()),
        "kl": _mean(-gap_K),
        "k3_kl": _mean(gap_K.exp() - gap_K - 1),
        "rollout_ppl": float(engine_S.exp().mean()),
        "rollout_log_ppl": float(engine_S.mean()),
        "log_ppl_diff": float(difference_S.mean()),
        "log_ppl_abs_diff": float(difference_S.abs().mean()),
        "log_ppl_diff_max": float(difference_S.max()),
        "log_ppl_diff_min": float(difference_S.min()),
        "ppl_ratio": float(difference_S.exp().mean()),
        "chi2_token": _mean(gap_K.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp().square()) - 1,
        "chi2_seq": float((2 * product_S).exp().mean()) - 1,
    }


def _mean(values_K: torch.Tensor) -> float:
    return float(values_K.double().sum()) / (len(values_K) + COUNT_GUARD)


def _share(flags_S: torch.Tensor) -> float:
    return float(flags_S.double().mean())


def _deviation(values_K: torch.Tensor) -> float:
    if len(values_K) < 2:
        return 0.0
    return math.sqrt(max(_mean(values_K.square()) - _mean(values_K) ** 2, 0.0))


def _by_sequence(values_K: torch.Tensor, sequence_K: torch.Tensor) -> torch.Tensor:
    """Return the mean of each sequence that has a token."""
    return sequence_mean(values_K, sequence_K)[torch.bincount(sequence_K) > 0]


def _dropped(keep_K: torch.Tensor, sequence_K: torch.Tensor) -> dict[str, float]:
    lost_S = sequence_max((~keep_K).double(), sequence_K)[torch.bincount(sequence_K) > 0]
    return {"masked_fraction": _mean(~keep_K), "seq_masked_fraction": _share(lost_S > 0)}
