"""SAPO: a soft gate in place of clipping. K = sampled tokens."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.objectives._ppo import ratio
from agentrl_trainers.objectives._sequences import geometric_ratio, need_sequences, sequence_mean
from agentrl_trainers.objectives._token_loss import TokenLoss


def sapo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    temperature_positive: float = 1.0,
    temperature_negative: float = 1.05,
    level: Literal["token", "sequence"] = "token",
) -> TokenLoss:
    """Return −f(ρ)·A with f(ρ) = σ(τ(ρ−1))·4/τ, τ by the sign of A (soft adaptive PO, arXiv 2511.20347).

    df/dρ is exactly 1 at ρ = 1 and fades smoothly on both sides; f(1) = 2/τ, so only the gradient of the loss means
    something, not its value. A = 0 takes the negative temperature. Aggregate "seq-mean-token-mean". Nothing is clipped.

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        sequence_K: Sequence of each token, for `level="sequence"`; see `geometric_ratio` for its unit.
        temperature_positive: τ of A > 0; larger is a sharper gate.
        temperature_negative: τ of A ≤ 0.
        level: "sequence" takes the geometric mean ratio and the mean advantage of the sequence, as AReaL does.

    Raises:
        ValueError: Level "sequence" without `sequence_K`.
    """
    if level == "sequence":
        sequence_K = need_sequences(sequence_K, 'sapo with level "sequence"')
        ratio_K = geometric_ratio(logprob_K - old_K.detach(), sequence_K)
        advantage_K = sequence_mean(advantage_K, sequence_K)[sequence_K]
    else:
        ratio_K = ratio(logprob_K, old_K)
    temperature_K = torch.where(advantage_K > 0, temperature_positive, temperature_negative).to(ratio_K)
    gate_K = torch.sigmoid(temperature_K * (ratio_K - 1)) * 4 / temperature_K
    return TokenLoss.of(-gate_K * advantage_K)
