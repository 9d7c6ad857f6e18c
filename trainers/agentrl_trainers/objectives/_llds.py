"""LLDS: keep good answers from losing likelihood. K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._sequences import sequence_sum


def likelihood_preserving(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    unit_K: torch.Tensor,
    coefficient: float = 0.1,
) -> torch.Tensor:
    """Return λ·max(0, old − logprob) per token, where A ≥ 0 and the token's whole unit lost likelihood; else 0.

    Deng et al. 2025 (arXiv 2512.04220): under GRPO even correct answers lose likelihood, until training collapses. The
    term acts only on a unit whose total Σ(logprob − old) fell, and there only on the tokens that fell. Add it to any
    objective's losses. At the start of an update logprob = old, and it is 0.

    Established from the paper's abstract and its authors' page: the two gates, the set A ≥ 0, and that the unit may be
    the response or, which they found better, one action (a turn). From memory: λ ≈ .1. The paper's variant that also
    leaves out the tokens of the final answer is a matter of `advantage_K`: give those −1.

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs at the start of the update.
        advantage_K: Advantages; only their sign is used.
        unit_K: Row or turn of each token, int64 from 0; a unit must be whole.
        coefficient: λ.
    """
    fallen_K = old_K.detach() - logprob_K
    lost_K = sequence_sum(fallen_K.detach(), unit_K)[unit_K] > 0
    return coefficient * fallen_K.clamp(min=0) * (lost_K & (advantage_K >= 0))
