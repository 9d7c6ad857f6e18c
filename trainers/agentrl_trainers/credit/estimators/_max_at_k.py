"""max@k: rewards for the best of any k trajectories of a group (PKPO)."""

from __future__ import annotations

import math
from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit.estimators._broadcast import to_tokens
from agentrl_trainers.credit.estimators._ranked import Ranking, ranked


def max_at_k(
    batch: CreditBatch, *, k: int = 4, baseline: Literal["leave_one_out", "none"] = "leave_one_out"
) -> torch.Tensor:
    """Return each trajectory's share in max@k on all of its tokens (Walder & Karkhanis 2025, arXiv 2505.15201).

    With rewards of a group of n in ascending order, E[max@k] = Σ_i C(i−1,k−1) r_i / C(n,k), and weight
    s_i = [C(i−1,k−1) r_i + Σ_{j>i} C(j−2,k−2) r_j] / C(n,k) makes Σ_i s_i ∇log π unbiased for its gradient. The
    baseline "leave_one_out" takes from the maximum of each set with i that of the set without it, which leaves
    A_i = Σ_{j<i} C(j−1,k−2) (r_i − r_j) / C(n,k); for k = 1 it is that of RLOO, over n.

    What rests on what: weights and E[max@k] are the paper's, from memory, and checked here by enumerating all sets;
    the baseline's closed form is derived from its definition.

    Args:
        batch: Uses `group_N` and `reward_N`.
        k: Size of the sets; in a smaller group its size.
        baseline: "leave_one_out" or "none".
    """
    if k < 1:
        raise ConfigError(f"k = {k}: expected 1 or more")
    if baseline not in ("leave_one_out", "none"):
        raise ConfigError(f'baseline = {baseline!r}: expected "leave_one_out" or "none"')
    ranking = ranked(batch.reward_N, batch.group_N)
    share_N = _relative_share(ranking, k) if baseline == "leave_one_out" else _share(ranking, batch.reward_N, k)
    advantage_N = torch.zeros_like(batch.reward_N)
    advantage_N[ranking.order_N] = share_N.to(batch.reward_N.dtype)
    return to_tokens(batch, advantage_N)


def _relative_share(ranking: Ranking, k: int) -> torch.Tensor:
    """Return Σ_{j<i} C(j−1,k−2) (r_i − r_j) / C(n,k) at each sorted place."""
    relative_N, count_N = ranking.relative_N.double(), ranking.count_N
    if k == 1:
        return relative_N / (count_N - 1).clamp(min=1)
    weight_N = _ways(ranking.rank_N, -2, k, count_N)
    return relative_N * _before(weight_N, ranking) - _before(weight_N * relative_N, ranking)


def _share(ranking: Ranking, reward_N: torch.Tensor, k: int) -> torch.Tensor:
    """Return [C(i−1,k−1) r_i + Σ_{j>i} C(j−2,k−2) r_j] / C(n,k) at each sorted place."""
    sorted_N = reward_N[ranking.order_N].double()
    own_N = _ways(ranking.rank_N, -1, k, ranking.count_N) * sorted_N
    above_N = _ways(ranking.rank_N - 1, -2, k, ranking.count_N) * sorted_N if k > 1 else torch.zeros_like(sorted_N)
    last_N = ranking.start_N + ranking.count_N - 1
    total_N = above_N.cumsum(0)
    return own_N + total_N[last_N] - total_N


def _ways(below_N: torch.Tensor, less: int, k: int, count_N: torch.Tensor) -> torch.Tensor:
    """Return C(below, k_n + less) / C(n, k_n) with k_n = min(k, n), by a table over group sizes."""
    largest = int(count_N.max()) if len(count_N) else 0
    table = torch.zeros(largest + 1, largest + 1, dtype=torch.float64)
    for size in range(1, largest + 1):
        chosen = min(k, size)
        if chosen + less < 0:
            continue
        for below in range(size):
            table[size, below] = math.comb(below, chosen + less) / math.comb(size, chosen)
    found_N = table.to(count_N.device)[count_N, below_N.clamp(min=0)]
    return torch.where(below_N >= 0, found_N, torch.zeros_like(found_N))


def _before(values_N: torch.Tensor, ranking: Ranking) -> torch.Tensor:
    """Return the sum over the lower ranks of the same group at each sorted place."""
    exclusive_N = values_N.cumsum(0) - values_N
    return exclusive_N - exclusive_N[ranking.start_N]
