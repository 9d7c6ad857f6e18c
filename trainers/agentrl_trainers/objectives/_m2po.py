"""M2PO: drop the tokens farthest from the sampler until the rest is near enough. K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._ppo import ppo_clip
from agentrl_trainers.objectives._token_loss import TokenLoss


def m2po_mask(proximal_K: torch.Tensor, behaviour_K: torch.Tensor, *, threshold: float = 0.04) -> torch.Tensor:
    """Return which tokens stay: the largest (behaviour − proximal)² go until the mean of the rest is < `threshold`.

    Zheng et al. 2025 (arXiv 2510.01161), as AReaL has it; .04 is reported to be the paper's, AReaL's default is off.
    One token always stays. The mean is over the whole batch, so give all tokens at once.

    Args:
        proximal_K: Log-probs at the start of the update.
        behaviour_K: Log-probs of the sampler.
        threshold: Bound of the second moment of what is kept.
    """
    moment_K = (behaviour_K - proximal_K.detach()).square()
    ascending, order = moment_K.sort()
    counts = torch.arange(1, len(ascending) + 1, device=moment_K.device)
    kept = int((ascending.cumsum(0) / counts < threshold).sum())
    keep_K = torch.zeros_like(moment_K, dtype=torch.bool)
    keep_K[order[: max(kept, 1)]] = True
    return keep_K


def m2po(
    logprob_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    keep_K: torch.Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> TokenLoss:
    """Return PPO's clipped loss against the behaviour policy, 0 where `m2po_mask` dropped a token (`filtered_K`).

    The mask is the trust region of stale tokens; a dropped token stays in the denominator.

    Args:
        logprob_K: Current log-probs, with gradient.
        behaviour_K: Log-probs of the sampler.
        advantage_K: Advantages.
        keep_K: Of `m2po_mask`, over the whole batch.
        clip_low: ε_low.
        clip_high: ε_high.
    """
    plain = ppo_clip(logprob_K, behaviour_K, advantage_K, clip_low=clip_low, clip_high=clip_high, dual_clip=None)
    return plain.weighted(keep_K.to(advantage_K), ~keep_K)
