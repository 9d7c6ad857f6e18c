"""What an objective gives back: one loss per token and what happened to it. Axis legend: K = sampled tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class TokenLoss:
    """Losses of sampled tokens, before aggregation, with their diagnostics.

    Attributes:
        loss_K: Loss of each token; gradient flows into the current log-probs only.
        clipped_K: Whether the ratio was clipped, so that the token has no gradient.
        dual_clipped_K: Whether the lower bound of a negative advantage took effect.
        importance_K: Importance weight that multiplied the loss; 0 where a filter dropped the token.
        filtered_K: Whether the importance filter dropped or clamped the token.
    """

    loss_K: torch.Tensor
    clipped_K: torch.Tensor
    dual_clipped_K: torch.Tensor
    importance_K: torch.Tensor
    filtered_K: torch.Tensor


class Objective(Protocol):
    """A policy objective. Options are keyword arguments with the authors' defaults."""

    def __call__(
        self,
        logprob_K: torch.Tensor,
        proximal_K: torch.Tensor,
        behaviour_K: torch.Tensor,
        advantage_K: torch.Tensor,
        *,
        sequence_K: torch.Tensor | None = None,
    ) -> TokenLoss:
        """Return the loss of each token.

        Args:
            logprob_K: Under the weights being trained, with gradient.
            proximal_K: Under the weights at the start of the update.
            behaviour_K: Under the weights that sampled the token, as the engine reported it.
            advantage_K: From credit.
            sequence_K: Index of the row each token belongs to (int64, from 0), for sequence-level statistics.
        """
        ...
