"""What selections share: the tokens left out get no advantage, and those kept are averaged among themselves.

Axis legend: N = trajectories, K = sampled tokens.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch

Count = Literal["tokens", "sequences", "all"]


def keep(batch: CreditBatch, advantage_K: torch.Tensor, keep_K: torch.Tensor, count: Count) -> torch.Tensor:
    """Return advantages with 0 for tokens that are left out.

    A loss is divided by the tokens or sequences of the whole batch, those left out included. So that it comes out as if
    they were not there, what is kept is multiplied by all/kept. (A term that does not multiply the advantage, such as
    a KL penalty, still sees every token.)

    Args:
        batch: Structure.
        advantage_K: Advantages before.
        keep_K: Which tokens are kept.
        count: What the loss is divided by: "tokens" for the aggregation token-mean, "sequences" for the others, "all"
            to leave the kept as they are.

    Raises:
        ConfigError: Unknown count.
    """
    if count not in get_args(Count):
        raise ConfigError(f"count = {count!r}: expected one of {', '.join(get_args(Count))}")
    kept_K = torch.where(keep_K, advantage_K, 0)
    if count == "all" or not bool(keep_K.any()):
        return kept_K
    if count == "tokens":
        return kept_K * (len(keep_K) / int(keep_K.sum()))
    trajectory_K = batch.trajectory_T[batch.turn_K]
    sequences = int((torch.bincount(trajectory_K) > 0).sum())
    return kept_K * (sequences / int((torch.bincount(trajectory_K[keep_K]) > 0).sum()))


def on_tokens(batch: CreditBatch, keep_N: torch.Tensor) -> torch.Tensor:
    """Return which tokens belong to the kept trajectories [K]."""
    return keep_N[batch.trajectory_T[batch.turn_K]]
