"""GBPO: regress the ratio on a bounded target. Axis legend: N = trajectories, K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._ppo import ratio
from agentrl_trainers.objectives._token_loss import TokenLoss


def median_relative(advantage_N: torch.Tensor, group_N: torch.Tensor) -> torch.Tensor:
    """Return each trajectory's advantage minus the median of its group; in a group of one, the advantage itself.

    Of GRPO's advantages (R − mean)/(std + ε) this is (R − median)/(std + ε), the signal of GBPO's target.

    Args:
        advantage_N: One advantage per trajectory.
        group_N: Group of each, int64 from 0; groups must be whole.
    """
    by_value = advantage_N.argsort(stable=True)
    order = by_value[group_N[by_value].argsort(stable=True)]
    count_G = torch.bincount(group_N)
    first_G = count_G.cumsum(0) - count_G
    sorted_N = advantage_N[order]
    last = max(len(advantage_N) - 1, 0)
    middle_G = (
        sorted_N[(first_G + (count_G - 1) // 2).clamp(max=last)] + sorted_N[(first_G + count_G // 2).clamp(max=last)]
    ) / 2
    return torch.where(count_G[group_N] == 1, advantage_N, advantage_N - middle_G[group_N])


def gbpo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    target_K: torch.Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    temperature: float = 1.0,
) -> TokenLoss:
    """Return |ρ − ρ*|·|A| with ρ* = 1 − ε_low + (ε_low + ε_high)·σ(target/temperature) (arXiv 2604.18578).

    Bounded ratio: better than the group's median aims above the middle of the clip range, worse below. The gradient is
    that of a sign: a token is pushed towards its target from either side. Token mean; credit "grpo".

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: GRPO's advantages; only their size is used.
        target_K: `median_relative` of each token's trajectory.
        clip_low: ε_low.
        clip_high: ε_high.
        temperature: Of the sigmoid.

    Returns:
        Losses; `clipped_K` marks ratios outside [1−ε_low, 1+ε_high], which do have a gradient here.
    """
    ratio_K = ratio(logprob_K, old_K)
    aim_K = 1 - clip_low + (clip_low + clip_high) * torch.sigmoid(target_K / temperature)
    outside_K = (ratio_K > 1 + clip_high) | (ratio_K < 1 - clip_low)
    return TokenLoss.of(((ratio_K - aim_K) * advantage_K).abs(), clipped_K=outside_K)
