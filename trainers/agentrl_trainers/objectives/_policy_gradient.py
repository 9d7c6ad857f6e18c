"""Objectives without a trust region: plain policy gradient and its quadratic form. K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._token_loss import TokenLoss


def policy_gradient(logprob_K: torch.Tensor, old_K: torch.Tensor, advantage_K: torch.Tensor) -> TokenLoss:
    """Return −A·logprob per token, token mean: REINFORCE, or GPG (arXiv 2504.02546); `old_K` is unused.

    It knows of no other policy than the current one: give it fresh tokens, or a `mismatch` correction.
    """
    return TokenLoss.of(-advantage_K * logprob_K)


def dro(logprob_K: torch.Tensor, old_K: torch.Tensor, advantage_K: torch.Tensor, *, beta: float = 0.1) -> TokenLoss:
    """Return −(A·logprob − β/2·(logprob − old)²): direct reward optimisation (Richemond et al. 2024, arXiv 2405.19107).

    The quadratic term keeps the policy near `old_K` also where A = 0, so no token is without gradient. As verl has it.

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the policy is held to.
        advantage_K: Advantages.
        beta: Strength of the hold, above 0.
    """
    gap_K = logprob_K - old_K.detach()
    return TokenLoss.of(-(advantage_K * logprob_K - beta / 2 * gap_K.square()))
