"""GSPO and LUSPO: clip the ratio of whole sequences. K = sampled tokens."""

from __future__ import annotations

import torch

from agentrl_trainers.objectives._ppo import clipped_surrogate
from agentrl_trainers.objectives._sequences import geometric_ratio, need_sequences, sequence_mean
from agentrl_trainers.objectives._token_loss import TokenLoss


def gspo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
    average_advantage: bool = False,
) -> TokenLoss:
    """Return max(−A·s, −A·clip(s, 1−ε_low, 1+ε_high)), s the geometric mean ratio of the token's sequence.

    Zheng et al. 2025 (arXiv 2507.18071). The mean runs over sampled tokens only, so tool results do not dilute it. It
    is a mean of many, hence clip ranges about 1000 times smaller than PPO's. Aggregate "seq-mean-token-mean".
    LUSPO is the same with "seq-mean-token-sum": each sequence's loss times its length, which undoes the preference for
    short answers (as TRL has it).

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Log-probs the ratio is taken against.
        advantage_K: Advantages; a method with turn-level credit may give the tokens of a sequence different ones.
        sequence_K: Sequence of each token; see `geometric_ratio` for its unit.
        clip_low: ε_low.
        clip_high: ε_high.
        average_advantage: Give all tokens of a sequence their mean advantage, as AReaL does.

    Raises:
        ValueError: No `sequence_K`.
    """
    sequence_K = need_sequences(sequence_K, "gspo")
    if average_advantage:
        advantage_K = sequence_mean(advantage_K, sequence_K)[sequence_K]
    ratio_K = geometric_ratio(logprob_K - old_K.detach(), sequence_K)
    return clipped_surrogate(ratio_K, advantage_K, 1 - clip_low, 1 + clip_high)


def luspo(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> TokenLoss:
    """Return GSPO's loss, to be aggregated "seq-mean-token-sum": length-unbiased sequence policy optimisation.

    Arguments as `gspo`; clip ranges are TRL's defaults, whose `luspo` with sequence ratios this equals.
    """
    return gspo(logprob_K, old_K, advantage_K, sequence_K=sequence_K, clip_low=clip_low, clip_high=clip_high)
