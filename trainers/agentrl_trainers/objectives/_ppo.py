"""PPO's clipped surrogate: symmetric, asymmetric ("clip higher"), with dual clip. K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._token_loss import TokenLoss

LOG_RATIO_BOUND = 20.0
"""Log-ratios are held within ±20 before exp, so that a token far off never turns into inf or nan."""


def ratio(logprob_K: torch.Tensor, old_K: torch.Tensor) -> torch.Tensor:
    """Return ρ = exp(logprob − old) per token, with gradient into `logprob_K`, the exponent held within ±20."""
    return (logprob_K - old_K.detach()).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()


def clipped_surrogate(
    ratio_K: torch.Tensor,
    advantage_K: torch.Tensor,
    lowest: float,
    highest: float,
    *,
    dual_clip: float | None = None,
    ratio_cap: float | None = None,
) -> TokenLoss:
    """Return max(−A·min(ρ, cap), −A·clip(ρ, lowest, highest)); for A < 0 not above −c·A.

    Args:
        ratio_K: Ratios, with gradient.
        advantage_K: Advantages.
        lowest: Lower bound of the ratio itself, 1−ε_low.
        highest: Upper bound of the ratio itself, 1+ε_high.
        dual_clip: c > 1, or None.
        ratio_cap: Bound of the ratio that is not clipped, or None (TRL's `delta`, of INTELLECT-2): it limits the loss
            of a negative advantage as the dual clip does.
    """
    free_K = -advantage_K * (ratio_K if ratio_cap is None else ratio_K.clamp(max=ratio_cap))
    held_K = -advantage_K * ratio_K.clamp(lowest, highest)
    loss_K = torch.maximum(free_K, held_K)
    dual_clipped_K = torch.zeros_like(loss_K, dtype=torch.bool)
    if dual_clip is not None:
        bound_K = -dual_clip * advantage_K
        dual_clipped_K = (advantage_K < 0) & (loss_K.detach() > bound_K)
        loss_K = torch.where(dual_clipped_K, bound_K, loss_K)
    return TokenLoss.of(loss_K, clipped_K=held_K.detach() > free_K.detach(), dual_clipped_K=dual_clipped_K)


def ppo_clip(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = 3.0,
    ratio_cap: float | None = None,
) -> TokenLoss:
    """Return max(−Aρ, −A·clip(ρ, 1−ε_low, 1+ε_high)) per token, ρ = exp(logprob − old) (Schulman et al. 2017).

    For A < 0 the loss is bounded by −c·A (dual clip, Ye et al. 2020, arXiv 1912.09729). DAPO (arXiv 2503.14476) is
    ε_low .2, ε_high .28, c 10. `importance_K` of the result is 1.

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        clip_low: ε_low, within (0, 1].
        clip_high: ε_high.
        dual_clip: c > 1, or None for no bound.
        ratio_cap: Bound of the ratio where it is not clipped, or None; see `clipped_surrogate`.
    """
    ratio_K = ratio(logprob_K, old_K)
    return clipped_surrogate(
        ratio_K, advantage_K, 1 - clip_low, 1 + clip_high, dual_clip=dual_clip, ratio_cap=ratio_cap
    )
