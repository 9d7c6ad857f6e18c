"""Optimal token baseline: a baseline for every position, weighted by how far each trajectory has moved the gradient."""

from __future__ import annotations

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._scan import continues, reverse_scan
from agentrl_trainers.credit._segments import group_sum
from agentrl_trainers.credit._tokens import token_rewards, trajectory_of_tokens
from agentrl_trainers.credit.estimators._ranked import ranked

EPSILON = 1e-8


def optimal_token_baseline(batch: CreditBatch, *, zero_tail: bool = True) -> torch.Tensor:
    """Return A_k = G_k − B with B = Σ G W / Σ W over the tokens of the group at the same position, as in verl.

    G_k is the reward-to-go and W_k = Σ_{i≤k} (1 − 2π_i + Σ_v π(v)²), the squared norm of the scores so far. A group of
    one has no baseline.

    Args:
        batch: Uses rewards, `group_N`, `logprob_K`, `squared_K` and, where given, `position_K`.
        zero_tail: No baseline for what a group's longest trajectory has beyond the length of the second longest,
            where it would be compared with itself.

    Raises:
        ConfigError: The batch lacks log-probs or Σ π².
    """
    if batch.logprob_K is None or batch.squared_K is None:
        raise ConfigError("optimal_token_baseline needs `logprob_K` and `squared_K` (sum of squared probabilities)")
    reward_K, trajectory_K = token_rewards(batch), trajectory_of_tokens(batch)
    return_K = reverse_scan(reward_K, continues(trajectory_K).to(reward_K.dtype))
    length_N = torch.bincount(trajectory_K, minlength=len(batch.reward_N))
    start_N = length_N.cumsum(0) - length_N
    place_K = torch.arange(len(trajectory_K), device=trajectory_K.device) - start_N[trajectory_K]
    position_K = place_K if batch.position_K is None else batch.position_K

    step_K = 1 - 2 * batch.logprob_K.exp() + batch.squared_K
    total_K = step_K.double().cumsum(0)
    before_N = torch.cat([total_K.new_zeros(1), total_K])[start_N]
    weight_K = (total_K - before_N[trajectory_K]).to(reward_K.dtype)

    group_K = batch.group_N[trajectory_K]
    width = int(position_K.max()) + 1 if len(position_K) else 0
    cell_K = group_K * width + position_K
    cells = int(cell_K.max()) + 1 if len(cell_K) else 0
    weighted_K = group_sum(return_K * weight_K, cell_K, cells)[cell_K]
    baseline_K = weighted_K / (group_sum(weight_K, cell_K, cells)[cell_K] + EPSILON)
    alone_N = torch.bincount(batch.group_N)[batch.group_N] == 1
    bare_K = alone_N[trajectory_K]
    if zero_tail:
        bare_K = bare_K | (position_K >= _tail_start(length_N, batch.group_N)[trajectory_K])
    return return_K - torch.where(bare_K, torch.zeros_like(baseline_K), baseline_K)


def _tail_start(length_N: torch.Tensor, group_N: torch.Tensor) -> torch.Tensor:
    """Return where the tail of each trajectory begins: the second largest length for its group's only longest one."""
    ranking = ranked(length_N.double(), group_N)
    sorted_N = length_N[ranking.order_N]
    longest_N = (ranking.rank_N == ranking.count_N - 1) & (ranking.count_N > 1)
    second_N = torch.roll(sorted_N, 1)
    begin_N = torch.full_like(length_N, torch.iinfo(torch.int64).max)
    chosen_N = longest_N & (sorted_N > second_N)
    begin_N[ranking.order_N[chosen_N]] = second_N[chosen_N]
    return begin_N
