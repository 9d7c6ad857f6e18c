"""Rejection masks (MIS): drop tokens or sequences on which engine and trainer disagree. K = tokens, S = sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.objectives._ppo import LOG_RATIO_BOUND
from agentrl_trainers.objectives._sequences import sequence_max, sequence_mean, sequence_sum

NAMES = (
    "token_k1",
    "token_k2",
    "token_k3",
    *(f"seq_{how}_{k}" for how in ("sum", "mean") for k in ("k1", "k2", "k3")),
    "seq_max_k2",
    "seq_max_k3",
)
"""Criteria by name: the level, how a sequence is summed up, and the estimate of the divergence."""


@dataclass(frozen=True)
class Criterion:
    """A bound on a statistic of x = proximal − behaviour.

    Attributes:
        name: One of `NAMES`. k1 = −x, k2 = x²/2, k3 = e^x − 1 − x.
        upper: Largest value kept. For k1 both bounds are ratios *behaviour/proximal*, compared in logarithms.
        lower: Smallest ratio kept, for k1 only; None = 1/upper.
    """

    name: str
    upper: float
    lower: float | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ConfigError(f"rejection criterion {self.name!r} is unknown; known: {', '.join(NAMES)}")
        if self.upper <= 0 or (self.lower is not None and not 0 < self.lower <= self.upper):
            raise ConfigError(
                f"rejection criterion {self.name!r}: bounds {self.lower}, {self.upper} must be 0 < lower ≤ upper"
            )
        if self.lower is not None and not self.name.endswith("k1"):
            raise ConfigError(f"rejection criterion {self.name!r} takes an upper bound only; k1 takes two")

    @classmethod
    def parse(cls, names: str, bounds: str) -> tuple[Criterion, ...]:
        """Read "token_k1,seq_mean_k3" with "0.8_1.25,0.05"; one bound may serve all.

        Raises:
            ConfigError: Unknown name, or bounds that do not fit.
        """
        each = [name.strip() for name in names.split(",")]
        texts = [text.strip() for text in bounds.split(",")]
        texts = texts * len(each) if len(texts) == 1 else texts
        if len(texts) != len(each):
            raise ConfigError(f"rejection: {len(texts)} bounds {bounds!r} for {len(each)} criteria {names!r}")
        try:
            numbers = [[float(number) for number in text.split("_")] for text in texts]
        except ValueError as error:
            raise ConfigError(f"rejection bounds {bounds!r}: expected numbers such as 0.05 or 0.8_1.25") from error
        return tuple(
            cls(name, row[-1], row[0] if len(row) > 1 else None) for name, row in zip(each, numbers, strict=True)
        )

    @property
    def level(self) -> Literal["token", "sequence"]:
        """Whether tokens or whole sequences are dropped."""
        return "token" if self.name.startswith("token") else "sequence"

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper bound of the statistic itself; the lower is −inf where there is none."""
        if not self.name.endswith("k1"):
            return -math.inf, self.upper
        return math.log(1 / self.upper if self.lower is None else self.lower), math.log(self.upper)

    def measure(self, gap_K: torch.Tensor, sequence_K: torch.Tensor) -> torch.Tensor:
        """Return the statistic of each token, or of its sequence [K]."""
        bounded_K = gap_K.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
        match self.name[-2:]:
            case "k1":
                value_K = -bounded_K
            case "k2":
                value_K = bounded_K.square() / 2
            case _:
                value_K = bounded_K.exp() - 1 - bounded_K
        if self.level == "token":
            return value_K
        combine = {"sum": sequence_sum, "mean": sequence_mean, "max": sequence_max}[self.name.split("_")[1]]
        return combine(value_K, sequence_K)[sequence_K]

    def keep(self, value_K: torch.Tensor) -> torch.Tensor:
        """Return which values are within the bounds."""
        lowest, highest = self.limits
        return (value_K >= lowest) & (value_K <= highest)


def rejection_mask(
    proximal_K: torch.Tensor, behaviour_K: torch.Tensor, sequence_K: torch.Tensor, criteria: Sequence[Criterion]
) -> torch.Tensor:
    """Return which tokens pass every criterion; drop the others' losses, but keep them in the denominator.

    Args:
        proximal_K: Trainer's log-probs before the update.
        behaviour_K: Engine's log-probs.
        sequence_K: Sequence of each token.
        criteria: Bounds, all of which must hold.
    """
    gap_K = proximal_K.detach() - behaviour_K
    keep_K = torch.ones_like(gap_K, dtype=torch.bool)
    for criterion in criteria:
        keep_K &= criterion.keep(criterion.measure(gap_K, sequence_K))
    return keep_K
