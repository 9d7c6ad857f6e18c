"""What credit gives back. Axis legend: K = sampled tokens, H = value heads of the critic."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Credit:
    """Advantages for the policy and, where a method has a critic, what the critic is to learn.

    Attributes:
        advantage_K: One advantage per sampled token.
        return_K: Value targets [K], or [K, H] for a method with several value heads; None without a critic.
        target_K: Which of them the critic learns from, of the same shape. Elsewhere `return_K` has no meaning.
    """

    advantage_K: torch.Tensor
    return_K: torch.Tensor | None = None
    target_K: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if (self.return_K is None) != (self.target_K is None):
            raise ValueError("value targets and their mask come together")
        if self.return_K is not None and self.target_K is not None and self.return_K.shape != self.target_K.shape:
            raise ValueError(f"value targets {tuple(self.return_K.shape)}, their mask {tuple(self.target_K.shape)}")
