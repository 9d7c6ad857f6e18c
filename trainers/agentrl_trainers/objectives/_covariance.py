"""Clip-Cov and KL-Cov: hold back the few tokens that take most of the entropy. K = sampled tokens.

Cui et al. 2025 (arXiv 2505.22617). The change of entropy follows the covariance of log-prob and advantage, and a tiny
share of tokens carries most of it. Both select tokens by cov = (A − mean A)(logprob − mean logprob) over all sampled
tokens of the batch: the selection must see the whole batch, `reduce` sums over ranks, and each rank then selects its
own share.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from agentrl_trainers.objectives._ppo import ppo_clip, ratio
from agentrl_trainers.objectives._token_loss import TokenLoss

Reduce = Callable[[torch.Tensor], torch.Tensor]


def covariance(logprob_K: torch.Tensor, advantage_K: torch.Tensor, *, reduce: Reduce | None = None) -> torch.Tensor:
    """Return each token's share of the covariance of advantage and log-prob, without gradient."""
    logprob_K = logprob_K.detach()
    sums = torch.stack([advantage_K.sum(), logprob_K.sum(), torch.tensor(float(len(logprob_K))).to(logprob_K)])
    totals = sums if reduce is None else reduce(sums)
    means = totals[:2] / totals[2]
    share_K: torch.Tensor = (advantage_K - means[0]) * (logprob_K - means[1])
    return share_K


def clip_cov_selection(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    fraction: float = 2e-4,
    low: float = 1.0,
    high: float = 5.0,
    generator: torch.Generator | None = None,
    reduce: Reduce | None = None,
) -> torch.Tensor:
    """Return which tokens Clip-Cov silences: a random `fraction` of all tokens (at least one) among those eligible.

    Eligible is what PPO does not clip already and whose covariance is within (low, high).

    Args:
        logprob_K: Current log-probs.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        clip_low: PPO's ε_low.
        clip_high: PPO's ε_high.
        fraction: Share of *all* tokens that is silenced, as a fraction; the original code writes it in percent.
        low: Lower bound of the covariance.
        high: Upper bound.
        generator: For the random choice, on the CPU; None = torch's own.
        reduce: Sums over ranks.
    """
    clipped_K = ppo_clip(logprob_K.detach(), old_K, advantage_K, clip_low=clip_low, clip_high=clip_high).clipped_K
    share_K = covariance(logprob_K, advantage_K, reduce=reduce)
    eligible = torch.nonzero((share_K < high) & (share_K > low) & ~clipped_K).squeeze(-1)
    order = torch.randperm(len(eligible), generator=generator).to(eligible.device)
    selected_K = torch.zeros_like(clipped_K)
    selected_K[eligible[order[: max(int(fraction * len(logprob_K)), 1)]]] = True
    return selected_K


def clip_cov(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    selected_K: torch.Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> TokenLoss:
    """Return PPO's clipped loss, 0 on the selected tokens (which stay in the denominator); see `clip_cov_selection`.

    `filtered_K` of the result marks them.
    """
    plain = ppo_clip(logprob_K, old_K, advantage_K, clip_low=clip_low, clip_high=clip_high, dual_clip=None)
    return TokenLoss.of(plain.loss_K.masked_fill(selected_K, 0), clipped_K=plain.clipped_K, filtered_K=selected_K)


def kl_cov_selection(
    logprob_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    fraction: float = 2e-4,
    reduce: Reduce | None = None,
) -> torch.Tensor:
    """Return which tokens KL-Cov holds: the `fraction` (at least one token) with the largest covariance.

    Args:
        logprob_K: Current log-probs.
        advantage_K: Advantages.
        fraction: Share of all tokens, as a fraction; 2e-4 in the code, .2 % in the paper.
        reduce: Sums over ranks.
    """
    share_K = covariance(logprob_K, advantage_K, reduce=reduce)
    selected_K = torch.zeros_like(share_K, dtype=torch.bool)
    count = min(max(1, int(len(share_K) * fraction)), len(share_K))
    selected_K[share_K.topk(count).indices] = True
    return selected_K


def kl_cov(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    selected_K: torch.Tensor,
    coefficient: float = 1.0,
) -> TokenLoss:
    """Return −A·ρ without clipping, plus `coefficient`·|logprob − old| on the selected tokens (`filtered_K`)."""
    held_K = selected_K * (logprob_K - old_K.detach()).abs()
    return TokenLoss.of(-advantage_K * ratio(logprob_K, old_K) + coefficient * held_K, filtered_K=selected_K)
