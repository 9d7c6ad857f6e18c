"""VESPO: a smooth kernel on the importance weight of the whole sequence. K = sampled tokens."""

from __future__ import annotations

import math

import torch

from agentrl_trainers.objectives._ppo import LOG_RATIO_BOUND
from agentrl_trainers.objectives._sequences import need_sequences, sequence_sum
from agentrl_trainers.objectives._token_loss import TokenLoss

LOWEST = math.log(1e-8)
"""Log-weights of sequences are held above this."""


def vespo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    power_positive: float = 2.0,
    rate_positive: float = 3.0,
    power_negative: float = 3.0,
    rate_negative: float = 2.0,
    log_correction_K: torch.Tensor | None = None,
) -> TokenLoss:
    """Return −φ(w)·A·logprob, φ = e^λ·w^k·e^(−λw), w = Π ρ the ratio of the whole sequence, φ without gradient.

    φ(1) = 1 and falls off on both sides, so a sequence far off fades instead of being cut. (k, λ) depend on the sign
    of A; the defaults are those of TRL, whose figures this reproduces; the paper itself was not at hand. Aggregate
    "token-mean". `importance_K` is φ.

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        sequence_K: Sequence of each token; in the learner a row, see `_sequences`.
        power_positive: k of A ≥ 0.
        rate_positive: λ of A ≥ 0.
        power_negative: k of A < 0.
        rate_negative: λ of A < 0.
        log_correction_K: Log-weights between trainer and engine that join the product, or None.

    Raises:
        ValueError: No `sequence_K`.
    """
    sequence_K = need_sequences(sequence_K, "vespo")
    gap_K = (logprob_K.detach() - old_K).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    if log_correction_K is not None:
        gap_K = gap_K + log_correction_K.clamp(LOWEST, LOG_RATIO_BOUND)
    log_weight_K = sequence_sum(gap_K, sequence_K)[sequence_K].clamp(LOWEST, LOG_RATIO_BOUND)
    good_K = advantage_K >= 0
    power_K = torch.where(good_K, power_positive, power_negative).to(gap_K)
    rate_K = torch.where(good_K, rate_positive, rate_negative).to(gap_K).clamp(min=1e-4)
    kernel_K = (rate_K + power_K * log_weight_K - rate_K * log_weight_K.exp()).exp()
    return TokenLoss.of(-kernel_K * advantage_K * logprob_K, importance_K=kernel_K)
