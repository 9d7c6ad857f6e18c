"""The loss of a critic. K = tokens with a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class ValueLoss:
    """Losses of values, before aggregation.

    Attributes:
        loss_K: Loss of each.
        clipped_K: Where the clipped prediction's loss was the larger, so that there is no gradient beyond the range.
    """

    loss_K: torch.Tensor
    clipped_K: torch.Tensor


def value_loss(
    value_K: torch.Tensor,
    old_K: torch.Tensor,
    return_K: torch.Tensor,
    *,
    clip: float | None = 0.2,
    kind: Literal["mse", "huber"] = "mse",
    delta: float = 10.0,
    clipped: Literal["value", "change"] = "value",
) -> ValueLoss:
    """Return max(ℓ(v − R), ℓ(clip(v, v_old ± ε) − R)), ℓ(x) = x²/2, or Huber's.

    verl and AReaL agree on it, the ½ included; some older code omits the ½.

    Args:
        value_K: Current values, with gradient.
        old_K: Values at the start of the update.
        return_K: Targets.
        clip: ε, or None for no clipping.
        kind: "huber" is linear beyond `delta`.
        delta: Where Huber's loss becomes linear.
        clipped: "value" clips v itself, as verl does; "change" clips v − v_old, as AReaL does. They differ by rounding:
            "change" takes some values within the range for clipped ones.
    """

    def measure(error_K: torch.Tensor) -> torch.Tensor:
        square_K = error_K.square() / 2
        if kind == "mse":
            return square_K
        size_K = error_K.abs()
        return torch.where(size_K < delta, square_K, delta * (size_K - delta / 2))

    free_K = measure(value_K - return_K)
    if clip is None:
        return ValueLoss(free_K, torch.zeros_like(free_K, dtype=torch.bool))
    if clipped == "change":
        near_K = old_K + (value_K - old_K).clamp(-clip, clip)
    else:
        near_K = torch.clamp(value_K, old_K - clip, old_K + clip)
    held_K = measure(near_K - return_K)
    return ValueLoss(torch.maximum(free_K, held_K), held_K.detach() > free_K.detach())
