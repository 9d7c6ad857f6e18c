"""Estimators of KL(π‖reference) from samples of π, per token. K = sampled tokens."""

from __future__ import annotations

from typing import Literal

import torch

KLKind = Literal["k1", "k2", "k3", "abs", "k1+", "k3+"]


def kl(logprob_K: torch.Tensor, reference_K: torch.Tensor, kind: KLKind = "k3") -> torch.Tensor:
    """Return the estimate for each token, with d = reference − logprob (Schulman, "Approximating KL divergence", 2020).

    k1 = −d is unbiased but may be negative; k2 = d²/2 is biased, and its gradient is that of the true KL; k3 =
    exp(d) − d − 1 is unbiased and never negative, but as a *loss* has the gradient of the other direction. "abs" is
    |d|. A "+" keeps the value and takes the gradient of k2. For k3, d is held within ±20 and the value within ±10.

    Args:
        logprob_K: Log-probs under π, with gradient if it is a loss.
        reference_K: Log-probs under the reference.
        kind: The estimator.
    """
    gap_K = reference_K - logprob_K
    match kind:
        case "k1":
            return -gap_K
        case "k2":
            return gap_K.square() / 2
        case "k3":
            bounded_K = gap_K.clamp(-20, 20)
            return (bounded_K.exp() - bounded_K - 1).clamp(-10, 10)
        case "abs":
            return gap_K.abs()
        case "k1+":
            return _with_gradient_of_k2(logprob_K, reference_K, kl(logprob_K, reference_K, "k1"))
        case "k3+":
            return _with_gradient_of_k2(logprob_K, reference_K, kl(logprob_K, reference_K, "k3"))


def _with_gradient_of_k2(logprob_K: torch.Tensor, reference_K: torch.Tensor, value_K: torch.Tensor) -> torch.Tensor:
    k2_K = kl(logprob_K, reference_K, "k2")
    return k2_K - k2_K.detach() + value_K.detach()
