"""Estimators of KL(π‖reference) from samples of π, per token. K = sampled tokens."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.objectives._ppo import ratio

KLKind = Literal["k1", "k2", "k3", "abs", "k1+", "k3+"]


def kl(
    logprob_K: torch.Tensor, reference_K: torch.Tensor, kind: KLKind = "k3", *, ceiling: float | None = 10.0
) -> torch.Tensor:
    """Return the estimate for each token, with d = reference − logprob (Schulman, "Approximating KL divergence", 2020).

    k1 = −d is unbiased but may be negative; k2 = d²/2 is biased, and its gradient is that of the true KL; k3 =
    exp(d) − d − 1 is unbiased and never negative, but as a *loss* has the gradient of the other direction. "abs" is
    |d|. A "+" keeps the value and takes the gradient of k2. For k3, d is held within ±20 and the value below `ceiling`.

    Args:
        logprob_K: Log-probs under π, with gradient if it is a loss.
        reference_K: Log-probs under the reference.
        kind: The estimator.
        ceiling: Largest value of k3 (verl: 10), or None (TRL); beyond it there is no gradient.
    """
    gap_K = reference_K - logprob_K
    match kind:
        case "k1":
            return -gap_K
        case "k2":
            return gap_K.square() / 2
        case "k3":
            bounded_K = gap_K.clamp(-20, 20)
            value_K = bounded_K.exp() - bounded_K - 1
            return value_K if ceiling is None else value_K.clamp(max=ceiling)
        case "abs":
            return gap_K.abs()
        case "k1+":
            return _with_gradient_of_k2(logprob_K, reference_K, kl(logprob_K, reference_K, "k1"))
        case "k3+":
            return _with_gradient_of_k2(logprob_K, reference_K, kl(logprob_K, reference_K, "k3"))


def corrected_kl(logprob_K: torch.Tensor, reference_K: torch.Tensor, old_K: torch.Tensor) -> torch.Tensor:
    """Return ρ·k3 with ρ = exp(logprob − old), gradient through both (DeepSeek-V3.2, arXiv 2512.02556).

    Tokens were sampled by the old policy; ρ makes k3 an unbiased estimate under the current one, and its gradient that
    of KL(π‖reference).
    """
    return kl(logprob_K, reference_K, "k3", ceiling=None) * ratio(logprob_K, old_K)


def _with_gradient_of_k2(logprob_K: torch.Tensor, reference_K: torch.Tensor, value_K: torch.Tensor) -> torch.Tensor:
    k2_K = kl(logprob_K, reference_K, "k2")
    return k2_K - k2_K.detach() + value_K.detach()
