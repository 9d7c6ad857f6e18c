"""EMPG: certain steps learn more, uncertain ones less, and a step that leads to certainty gets a bonus."""

from __future__ import annotations

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._turns import following, tokens_of_turns, turn_means


def empg(
    batch: CreditBatch, advantage_K: torch.Tensor, *, k: float = 1.0, k_future: float = 1.0, zeta: float = 0.1
) -> torch.Tensor:
    """Return A·g_t + ζ·f_{t+1}, minus its mean over the steps of the batch (Wang et al. 2025, arXiv 2509.09265).

    H_t is the mean token entropy of turn t, Ĥ its position between the batch's smallest and largest. Self-calibrating
    scaling: g = exp(−k·Ĥ) / mean over steps. Future clarity: f = exp(−k'·Ĥ) of the next turn of the same trajectory;
    the last turn has no bonus. Centring weighs steps alike, whatever their number of tokens, and is the mean of the
    whole batch: give it all trajectories of a step at once.

    Example, H = .1, .5, .9, A = 1: g = 1.5195, .9216, .5590; the result is .5476, −.0742, −.4735.

    There is no code by the authors. The formulas were checked against a public port, whose scripts set ζ to .05; .1 is
    the default of its function, and believed to be the paper's.

    Args:
        batch: Uses `entropy_K`, under the policy that is the start of the update.
        advantage_K: From any estimator.
        k: Sharpness of the scaling.
        k_future: Sharpness of the bonus (k').
        zeta: Weight of the bonus (ζ).

    Raises:
        ConfigError: The batch has no entropies.
    """
    if batch.entropy_K is None:
        raise ConfigError("empg needs the entropy of every sampled token: use an engine that reports entropies")
    sampled_T = tokens_of_turns(batch) > 0
    if not bool(sampled_T.any()):
        return advantage_K
    entropy_T = turn_means(batch, batch.entropy_K.to(advantage_K.dtype))
    known = entropy_T[sampled_T]
    lowest, highest = known.min(), known.max()
    level_T = (entropy_T - lowest) / (highest - lowest + 1e-8)
    scale_T = (-k * level_T).exp()
    scale_T = scale_T / (scale_T[sampled_T].mean() + 1e-8)
    clarity_T = torch.where(sampled_T, (-k_future * level_T).exp(), 0)
    bonus_T = zeta * following(batch, clarity_T, 0.0)
    centre = (turn_means(batch, advantage_K) * scale_T + bonus_T)[sampled_T].mean()
    return advantage_K * scale_T[batch.turn_K] + bonus_T[batch.turn_K] - centre
