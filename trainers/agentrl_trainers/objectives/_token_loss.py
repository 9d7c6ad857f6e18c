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

    @classmethod
    def of(
        cls,
        loss_K: torch.Tensor,
        *,
        clipped_K: torch.Tensor | None = None,
        dual_clipped_K: torch.Tensor | None = None,
        importance_K: torch.Tensor | None = None,
        filtered_K: torch.Tensor | None = None,
    ) -> TokenLoss:
        """Return losses whose other figures are those of a token that nothing happened to, unless they are given."""
        nothing_K = torch.zeros_like(loss_K, dtype=torch.bool)
        return cls(
            loss_K=loss_K,
            clipped_K=nothing_K if clipped_K is None else clipped_K,
            dual_clipped_K=nothing_K if dual_clipped_K is None else dual_clipped_K,
            importance_K=torch.ones_like(loss_K).detach() if importance_K is None else importance_K,
            filtered_K=nothing_K if filtered_K is None else filtered_K,
        )

    def weighted(self, weight_K: torch.Tensor, filtered_K: torch.Tensor | None = None) -> TokenLoss:
        """Return the losses times a weight without gradient; a token of weight 0 counts as clipped by nothing."""
        kept_K = weight_K > 0
        return TokenLoss(
            loss_K=weight_K * self.loss_K,
            clipped_K=self.clipped_K & kept_K,
            dual_clipped_K=self.dual_clipped_K & kept_K,
            importance_K=weight_K * self.importance_K,
            filtered_K=self.filtered_K if filtered_K is None else self.filtered_K | filtered_K,
        )


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
