"""DPPO: a trust region on probabilities instead of ratios. K = sampled tokens."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.objectives._ppo import ratio
from agentrl_trainers.objectives._token_loss import TokenLoss

Divergence = Literal["tv", "kl"]


def dppo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    low: float = 0.2,
    high: float = 0.2,
    cap: float = 20.0,
    divergence: Divergence = "tv",
) -> TokenLoss:
    """Return −A·sg(min(ρ, cap))·logprob, without the tokens that already moved too far the way A pushes them.

    arXiv 2602.04879, as verl has it. A ratio says little about a rare token, whose probability may double without any
    harm; so the bound is on the divergence of the two-way distribution {this token, any other}. "tv": p_θ − p_old >
    `high` with A > 0, or < −`low` with A ≤ 0, drops the token. "kl": the same with KL(old ‖ θ) of that distribution.
    Token mean, dropped tokens included in the denominator.

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages.
        low: Bound below; for "kl" the paper's figures are about .05.
        high: Bound above.
        cap: Largest importance weight.
        divergence: "tv" or "kl".

    Returns:
        Losses; `clipped_K` marks dropped tokens, `dual_clipped_K` those that are kept with the capped weight.
    """
    ratio_K = ratio(logprob_K, old_K).detach()
    probability_K, old_probability_K = logprob_K.detach().exp(), old_K.exp()
    if divergence == "tv":
        moved_K = probability_K - old_probability_K
        dropped_K = torch.where(advantage_K > 0, moved_K > high, moved_K < -low)
    else:
        others_K = (1 - old_probability_K + 1e-8) / (1 - probability_K + 1e-8)
        moved_K = old_probability_K * (old_K - logprob_K.detach()) + (1 - old_probability_K) * others_K.log()
        dropped_K = torch.where(
            advantage_K > 0,
            (moved_K > high) & (probability_K > old_probability_K),
            (moved_K > low) & (probability_K < old_probability_K),
        )
    kept_K = ~dropped_K
    loss_K = -advantage_K * ratio_K.clamp(max=cap) * logprob_K * kept_K
    return TokenLoss.of(loss_K, clipped_K=dropped_K, dual_clipped_K=(ratio_K > cap) & kept_K)
