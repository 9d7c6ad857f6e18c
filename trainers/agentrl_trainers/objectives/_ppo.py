"""PPO's clipped surrogate: symmetric, asymmetric ("clip higher") and with dual clip. K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._token_loss import TokenLoss

LOG_RATIO_BOUND = 20.0
"""Log-ratios are held within ±20 before exp, so that a token far off never turns into inf or nan."""


def ppo_clip(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = 3.0,
) -> TokenLoss:
    """Return max(−Aρ, −A·clip(ρ, 1−ε_low, 1+ε_high)) per token, ρ = exp(logprob − old).

    For A < 0 the loss is bounded by −c·A (dual clip, Ye et al. 2020, arXiv 1912.09729). DAPO is ε_low .2, ε_high .28,
    c 10. `importance_K` of the result is 1.

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        clip_low: ε_low, within (0, 1].
        clip_high: ε_high.
        dual_clip: c > 1, or None for no bound.
    """
    ratio_K = (logprob_K - old_K.detach()).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
    free_K = -advantage_K * ratio_K
    held_K = -advantage_K * ratio_K.clamp(1 - clip_low, 1 + clip_high)
    loss_K = torch.maximum(free_K, held_K)
    dual_clipped_K = torch.zeros_like(loss_K, dtype=torch.bool)
    if dual_clip is not None:
        bound_K = -dual_clip * advantage_K
        dual_clipped_K = (advantage_K < 0) & (loss_K > bound_K)
        loss_K = torch.where(dual_clipped_K, bound_K, loss_K)
    return TokenLoss(
        loss_K=loss_K,
        clipped_K=held_K.detach() > free_K.detach(),
        dual_clipped_K=dual_clipped_K,
        importance_K=torch.ones_like(loss_K).detach(),
        filtered_K=torch.zeros_like(dual_clipped_K),
    )
