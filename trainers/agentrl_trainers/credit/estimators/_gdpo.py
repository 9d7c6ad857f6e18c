"""GDPO: every part of the reward is normalised in its group before the parts are summed."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit.estimators._broadcast import to_tokens

EPSILON = 1e-6


def gdpo(batch: CreditBatch, *, part_weights: Mapping[str, float] | None = None) -> torch.Tensor:
    """Return A = Σ_p w_p (s_p − mean_p) / (std_p + 1e-6) for every token (NVIDIA 2026, arXiv 2601.05242).

    Mean and unbiased deviation are those of the group, part by part, so that a part with a small range is not drowned
    by a large one. A part that a trajectory was not scored on (nan) counts nothing for it. The composition "gdpo"
    whitens over the batch afterwards. A reward without parts is one part.

    Args:
        batch: Uses `group_N`, and `part_NP` with `part_names`, or else `reward_N`.
        part_weights: Weight of parts by name, those left out count nothing; None = 1 each.

    Raises:
        ConfigError: A weight is for a part that no reward has.
    """
    part_NP = batch.reward_N[:, None] if batch.part_NP is None else batch.part_NP
    weights = [1.0] * part_NP.shape[1]
    if part_weights is not None:
        unknown = sorted(set(part_weights) - set(batch.part_names))
        if unknown:
            known = ", ".join(batch.part_names) or "none"
            raise ConfigError(f"part_weights: the reward has no part {unknown[0]!r}; it has: {known}")
        weights = [part_weights.get(name, 0.0) for name in batch.part_names]
    advantage_N = torch.zeros_like(batch.reward_N)
    for column, weight in enumerate(weights):
        known_N = ~part_NP[:, column].isnan()
        statistics = group_statistics(part_NP[known_N, column], batch.group_N[known_N])
        advantage_N[known_N] += weight * statistics.centred_N / (statistics.deviation_N + EPSILON)
    return to_tokens(batch, advantage_N)
