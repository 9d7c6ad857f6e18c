"""prime-rl's losses: masked importance-weighted policy gradient, squared log-ratio. K = tokens, S = sequences.

The ratio is taken directly against the engine's log-probs, so it corrects staleness and numerics at once, and no other
importance weight belongs on top.
"""

from __future__ import annotations

from typing import Literal

import torch

from agentrl_trainers.objectives._ppo import ratio
from agentrl_trainers.objectives._sequences import sequence_mean, sequence_sum
from agentrl_trainers.objectives._token_loss import TokenLoss


def prime_rl(
    logprob_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    low: float = 0.2,
    high: float = 0.2,
    region: Literal["signed", "absolute"] = "signed",
    advantage_scale: float = 1.0,
    kl_coefficient: float = 1e-3,
) -> TokenLoss:
    """Return −keep·a·A·ρ + τ·(logprob − behaviour)², ρ = exp(logprob − behaviour) with gradient.

    DPPO's trust region (arXiv 2602.04879) with Kimi K2.5's squared log-ratio (arXiv 2602.02276), divided by the global
    number of tokens. The second term is on *all* tokens, dropped ones and those with A = 0 too. prime-rl's "ipo" is
    `region="absolute"` with .1 for both bounds.

    Args:
        logprob_K: Current log-probs, with gradient.
        behaviour_K: The engine's log-probs.
        advantage_K: Advantages.
        low: Drop at A ≤ 0 where the probability fell by more.
        high: Drop at A > 0 where the probability rose by more.
        region: "absolute" drops whatever moved by more than `high` up or `low` down, whatever the advantage.
        advantage_scale: a.
        kl_coefficient: τ.

    Returns:
        Losses; `clipped_K` marks dropped tokens.
    """
    ratio_K = ratio(logprob_K, behaviour_K)
    moved_K = logprob_K.detach().exp() - behaviour_K.exp()
    if region == "absolute":
        dropped_K = (moved_K > high) | (moved_K < -low)
    else:
        dropped_K = torch.where(advantage_K > 0, moved_K > high, moved_K < -low)
    gap_K = logprob_K - behaviour_K
    loss_K = -advantage_scale * advantage_K * ratio_K * ~dropped_K + kl_coefficient * gap_K.square()
    return TokenLoss.of(loss_K, clipped_K=dropped_K)


def reference_distillation(
    logprob_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    reference_K: torch.Tensor,
    *,
    low: float = 0.2,
    kl_coefficient: float = 1e-3,
) -> TokenLoss:
    """Return prime-rl's on-policy distillation: the log-ratio to a reference model is the advantage of each token.

    A = sg(reference − logprob) is the policy gradient of the reverse KL; only tokens whose probability fell by more
    than `low` are dropped.

    Args:
        logprob_K: Current log-probs, with gradient.
        behaviour_K: The engine's log-probs.
        reference_K: Log-probs of the model to learn from.
        low: Bound of the fall in probability.
        kl_coefficient: Weight of the squared log-ratio to the engine.
    """
    dropped_K = logprob_K.detach().exp() - behaviour_K.exp() < -low
    advantage_K = (reference_K - logprob_K).detach()
    gap_K = logprob_K - behaviour_K
    loss_K = -advantage_K * ratio(logprob_K, behaviour_K) * ~dropped_K + kl_coefficient * gap_K.square()
    return TokenLoss.of(loss_K, clipped_K=dropped_K)


def region_metrics(
    result: TokenLoss,
    logprob_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    advantage_K: torch.Tensor,
    sequence_K: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """Return, for each sequence [S], how far dropped and kept tokens are from the engine, and which were dropped.

    Args:
        result: Of `prime_rl` or `reference_distillation`.
        logprob_K: Current log-probs.
        behaviour_K: The engine's.
        advantage_K: Advantages.
        sequence_K: Sequence of each token.

    Returns:
        masked_mismatch_kl and unmasked_mismatch_kl: mean k3 of dropped and of kept tokens. is_masked: share dropped;
        is_masked_low and is_masked_high: of them with A < 0 and A > 0. masked_advantage_negative and
        masked_advantage_positive: shares of both signs among the dropped.
    """
    gap_K = (logprob_K - behaviour_K).detach()
    mismatch_K = gap_K.exp() - gap_K - 1
    dropped_K, good_K, bad_K = result.clipped_K, advantage_K > 0, advantage_K < 0

    def mean(values_K: torch.Tensor, among_K: torch.Tensor) -> torch.Tensor:
        among = among_K.to(mismatch_K)
        return sequence_sum(values_K * among, sequence_K) / sequence_sum(among, sequence_K).clamp(min=1)

    flags = {
        name: sequence_mean(flag_K.to(mismatch_K), sequence_K)
        for name, flag_K in {
            "is_masked": dropped_K,
            "is_masked_low": dropped_K & bad_K,
            "is_masked_high": dropped_K & good_K,
        }.items()
    }
    return {
        "masked_mismatch_kl": mean(mismatch_K, dropped_K),
        "unmasked_mismatch_kl": mean(mismatch_K, ~dropped_K),
        "masked_advantage_positive": mean(good_K, dropped_K),
        "masked_advantage_negative": mean(bad_K, dropped_K),
        **flags,
    }
