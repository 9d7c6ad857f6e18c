"""Bi-level GAE: over turns first, then over the tokens inside each turn towards the turn's return."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._credit import Credit
from agentrl_trainers.credit._gae import advantages
from agentrl_trainers.credit._scan import continues, following, reverse_scan
from agentrl_trainers.credit._tokens import Truncated, end_values, sampled_turns, values


def bilevel_gae(
    batch: CreditBatch,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    high_gamma: float = 0.95,
    truncated: Truncated = "end",
) -> Credit:
    """Return token advantages whose goal is the advantage of their turn (RAGEN and VAGEN, arXiv 2510.16907).

    1. Over the last tokens e_1..e_T of the turns: δ_t = r_t + γ_H V(e_{t+1}) − V(e_t), A_t = δ_t + γ_H λ A_{t+1}.
    2. Inside each turn, backwards from e_t: A(e_t) = A_t; before it δ_k = γ V_{k+1} − V_k, A_k = δ_k + γλ A_{k+1}.

    Targets are A + V. Turn ends come from the turns themselves: the reference takes every token with a reward for
    one, so that a turn without a reward loses its boundary there, and a zero at the end is an error. The composition
    "bilevel_gae" whitens afterwards.

    Args:
        batch: Uses `value_K`, rewards and turns.
        gamma: Discount per token, inside a turn.
        lam: Trace decay of both levels.
        high_gamma: γ_H, discount per turn.
        truncated: As for `gae`.
    """
    value_K, turns = values(batch), sampled_turns(batch)
    value_U = value_K[turns.last_U]
    end_U = end_values(batch, value_U, turns.trajectory_U, truncated)
    advantage_U = advantages(turns.reward_U, value_U, end_U, turns.trajectory_U, high_gamma, lam)
    follows_K = continues(batch.turn_K)
    inside_K = gamma * following(value_K, follows_K, value_K) - value_K
    term_K = torch.where(follows_K, inside_K, advantage_U[turns.turn_K])
    advantage_K = reverse_scan(term_K, gamma * lam * follows_K.to(term_K.dtype))
    return Credit(advantage_K, advantage_K + value_K, torch.ones_like(follows_K))
