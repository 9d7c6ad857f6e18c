"""POAD: policy optimisation with action decomposition, and its siblings NTPO and ARCHER."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._credit import Credit
from agentrl_trainers.credit._scan import continues, following, reverse_scan
from agentrl_trainers.credit._tokens import Truncated, end_values, sampled_turns, values

Backup = Literal["poad", "ntpo", "archer"]


def poad(
    batch: CreditBatch,
    *,
    gamma: float = 0.95,
    lam: float = 0.95,
    backup: Backup = "poad",
    truncated: Truncated = "bootstrap",
) -> Credit:
    """Return token advantages by the Bellman backup with action decomposition (Wen et al. 2024, arXiv 2405.15821).

    Inside an action (turn): δ_k = V_{k+1} − V_k and A_k = δ_k + λ A_{k+1}, without discount, so that the length of an
    action changes nothing. At its last token: δ = r + γ V(next action, first token) − V, A = δ + γλ A_next.
    "ntpo" discounts at every token. "archer" does too, and at an action's end bootstraps from the value at the next
    action's last token. Targets are A + V. The composition "poad" whitens afterwards, as MAPPO does.

    Args:
        batch: Uses `value_K`, rewards and turns.
        gamma: Discount between actions (for "ntpo" and "archer" between all tokens).
        lam: Trace decay per token.
        backup: Which of the three.
        truncated: As for `gae`.
    """
    if backup not in get_args(Backup):
        raise ConfigError(f"backup = {backup!r}: expected one of {', '.join(get_args(Backup))}")
    value_K, turns = values(batch), sampled_turns(batch)
    entry_U = value_K[turns.last_U if backup == "archer" else turns.first_U]
    follows_U = continues(turns.trajectory_U)
    # What an unfinished trajectory is bootstrapped with, where the critic gave nothing, is its very last value.
    end_U = end_values(batch, value_K[turns.last_U], turns.trajectory_U, truncated)
    next_U = following(entry_U, follows_U, end_U)
    inside_K = continues(turns.turn_K)
    within = 1.0 if backup == "poad" else gamma
    delta_K = torch.where(
        inside_K,
        within * following(value_K, inside_K, value_K) - value_K,
        (turns.reward_U + gamma * next_U)[turns.turn_K] - value_K,
    )
    between_K = gamma * follows_U[turns.turn_K].to(value_K.dtype)
    decay_K = lam * torch.where(inside_K, torch.full_like(value_K, within), between_K)
    advantage_K = reverse_scan(delta_K, decay_K)
    return Credit(advantage_K, advantage_K + value_K, torch.ones_like(inside_K))
