"""Decoupled PPO: clip around the proximal policy, weigh by how far that is from the behaviour policy."""

from __future__ import annotations

import dataclasses

import torch

from agentrl_trainers.objectives._importance import Action, Level, Metric, importance_weights
from agentrl_trainers.objectives._ppo import ppo_clip
from agentrl_trainers.objectives._token_loss import TokenLoss


def decoupled_ppo(
    logprob_K: torch.Tensor,
    proximal_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
    importance_cap: float | None = 5.0,
    importance_floor: float | None = None,
    importance_action: Action = "mask",
    importance_metric: Metric = "ratio",
    importance_level: Level = "token",
) -> TokenLoss:
    """Return w·max(−Aρ, −A·clip(ρ)) per token: ρ = exp(logprob − proximal), w = exp(proximal − behaviour).

    Hilton et al. 2021 (arXiv 2110.00641) as AReaL uses it (arXiv 2505.24298): stale tokens are corrected by w, while
    the trust region stays around the weights that the update began with. w carries no gradient, is computed in float32
    and multiplies after the dual clip. Aggregate with the count of *all* tokens: a filtered one stays in the
    denominator.

    Args:
        logprob_K: Current log-probs, with gradient.
        proximal_K: Log-probs at the start of the update.
        behaviour_K: Log-probs of the sampler, per token: a trajectory may span versions.
        advantage_K: Advantages.
        sequence_K: Row of each token, needed for `importance_level="sequence"`.
        clip_low: ε_low of the ratio.
        clip_high: ε_high of the ratio.
        dual_clip: Bound c of the loss of negative advantages, or None.
        importance_cap: Upper bound of w's filter, or None.
        importance_floor: Lower bound of w's filter, or None.
        importance_action: "mask" drops tokens outside the bounds, "clamp" moves w to the bound.
        importance_metric: What is compared with the bounds; see `importance_weights`.
        importance_level: Weigh and filter by token or by sequence.

    Raises:
        ConfigError: An impossible combination of filter options.
    """
    importance = importance_weights(
        proximal_K,
        behaviour_K,
        sequence_K=sequence_K,
        cap=importance_cap,
        floor=importance_floor,
        action=importance_action,
        metric=importance_metric,
        level=importance_level,
    )
    clipped = ppo_clip(logprob_K, proximal_K, advantage_K, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip)
    kept_K = importance.weight_K > 0
    return dataclasses.replace(
        clipped,
        loss_K=importance.weight_K * clipped.loss_K,
        clipped_K=clipped.clipped_K & kept_K,
        dual_clipped_K=clipped.dual_clipped_K & kept_K,
        importance_K=importance.weight_K,
        filtered_K=importance.filtered_K,
    )
