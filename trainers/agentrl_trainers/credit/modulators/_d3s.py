"""D³S: train on the trajectories that differ most and, of those, on the tokens that matter most."""

from __future__ import annotations

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_sum
from agentrl_trainers.credit.modulators._selection import Count, keep, on_tokens


def d3s(
    batch: CreditBatch,
    advantage_K: torch.Tensor,
    *,
    sample_fraction: float = 0.5,
    token_fraction: float = 0.5,
    count: Count = "tokens",
) -> torch.Tensor:
    """Keep the trajectories of largest advantage variance, then the tokens of largest |A|·H (arXiv 2509.22115).

    Advantages are normalised per group before (by the estimator) and not again after. From the abstract and a note:
    the paper relaxes both fractions over training, `d3s_schedule`; the numbers here are ours.

    Args:
        batch: Uses `entropy_K`.
        advantage_K: From any estimator.
        sample_fraction: Share of trajectories kept, within (0, 1].
        token_fraction: Share of their tokens kept, within (0, 1]; ties are kept.
        count: What the loss is divided by; see `keep`.

    Raises:
        ConfigError: The batch has no entropies, a fraction is out of range or the count unknown.
    """
    if batch.entropy_K is None:
        raise ConfigError("d3s needs the entropy of every sampled token: use an engine that reports entropies")
    for name, value in (("sample_fraction", sample_fraction), ("token_fraction", token_fraction)):
        if not 0 < value <= 1:
            raise ConfigError(f"{name} = {value}: expected a share within (0, 1]")
    trajectories = len(batch.group_N)
    trajectory_K = batch.trajectory_T[batch.turn_K]
    tokens_N = torch.bincount(trajectory_K, minlength=trajectories)
    advantage_N = group_sum(advantage_K, trajectory_K, trajectories) / tokens_N.clamp(min=1)
    keep_N = most_varied(advantage_N, max(round(sample_fraction * trajectories), 1))
    keep_K = on_tokens(batch, keep_N)
    weight_K = torch.where(keep_K, advantage_K.abs() * batch.entropy_K.to(advantage_K.dtype), -torch.inf)
    wanted = max(round(token_fraction * int(keep_K.sum())), 1)
    if weight_K.numel():
        keep_K = keep_K & (weight_K >= weight_K.topk(wanted).values[-1])
    return keep(batch, advantage_K, keep_K, count)


def most_varied(values_N: torch.Tensor, count: int) -> torch.Tensor:
    """Return the `count` values of largest variance (bool [N]): some of the smallest and some of the largest.

    All splits into smallest and largest are compared at once; of equal values the earlier are taken.
    """
    total = len(values_N)
    if count >= total:
        return torch.ones_like(values_N, dtype=torch.bool)
    order_N = values_N.argsort(stable=True)
    # Centred first: the variance of a subset is then a difference of small numbers.
    sorted_N = (values_N - values_N.mean())[order_N].double()
    zero = sorted_N.new_zeros(1)
    sums = torch.cat([zero, sorted_N.cumsum(0)])
    squares = torch.cat([zero, sorted_N.square().cumsum(0)])
    low = torch.arange(count + 1, device=values_N.device)
    high = total - (count - low)
    mean = (sums[low] + sums[-1] - sums[high]) / count
    variance = (squares[low] + squares[-1] - squares[high]) / count - mean.square()
    split = int(variance.argmax())
    chosen_N = torch.cat([order_N[:split], order_N[total - (count - split) :]])
    return torch.zeros_like(values_N, dtype=torch.bool).index_fill_(0, chosen_N, True)


def d3s_schedule(progress: float, start: float, end: float) -> float:
    """Return a fraction that is linear in the share of training done: aggressive `start` to relaxed `end`."""
    return start + (end - start) * min(max(progress, 0.0), 1.0)
