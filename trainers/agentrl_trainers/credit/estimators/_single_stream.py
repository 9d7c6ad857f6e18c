"""Single-stream policy optimisation: a tracked value per task instead of a group."""

from __future__ import annotations

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit.estimators._broadcast import to_tokens


def single_stream(batch: CreditBatch) -> torch.Tensor:
    """Return A = s − v for every token, whitened over the trajectories of the batch (Xu & Ding 2025, arXiv 2509.13232).

    v is what a `ValueTracker` expected of the task *before* this batch. Normalised as in the authors' recipe: mean and
    unbiased deviation over trajectories, + 1e-8.

    Args:
        batch: Uses `reward_N` and `baseline_N`.

    Raises:
        ConfigError: The batch has no tracked values.
    """
    if batch.baseline_N is None:
        raise ConfigError("single_stream needs the tracked value of each task: the batch has no `baseline_N`")
    surprise_N = batch.reward_N - batch.baseline_N
    centred_N = surprise_N - surprise_N.mean() if len(surprise_N) else surprise_N
    deviation = (centred_N.square().sum() / max(len(centred_N) - 1, 1)).sqrt()
    return to_tokens(batch, centred_N / (deviation + 1e-8))
