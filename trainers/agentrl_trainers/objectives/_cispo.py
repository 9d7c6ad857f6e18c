"""CISPO: clip the importance weight, never the gradient. K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._ppo import ratio
from agentrl_trainers.objectives._token_loss import TokenLoss


def cispo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    clip_low: float | None = None,
    clip_high: float = 0.28,
    cap: float | None = None,
) -> TokenLoss:
    """Return −sg(clip(ρ, 1−ε_low, bound))·A·logprob per token, token mean (MiniMax-M1, arXiv 2506.13585).

    Every token keeps a gradient. Two conventions of the upper bound are in use under one name, so each has its own
    here: `clip_high` is the *distance* from 1 (verl, slime: bound 1+ε_high), `cap` the *bound itself* (TRL's
    `epsilon_high`, ScaleRL: about 4 to 8).

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        clip_low: Distance of the lower bound below 1; None (the paper) or at least 1 switches it off.
        clip_high: Distance of the upper bound above 1; unused where `cap` is given.
        cap: Upper bound itself.
    """
    ratio_K = ratio(logprob_K, old_K).detach()
    lowest = 0.0 if clip_low is None else max(0.0, 1 - clip_low)
    weight_K = ratio_K.clamp(lowest, 1 + clip_high if cap is None else cap)
    return TokenLoss.of(-weight_K * advantage_K * logprob_K, clipped_K=weight_K != ratio_K)
