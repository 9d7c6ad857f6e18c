"""Turn-level GAE: one value per turn, read at one of its tokens, and one advantage for all of them."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._credit import Credit
from agentrl_trainers.credit._gae import advantages
from agentrl_trainers.credit._tokens import Truncated, end_values, sampled_turns, values


def turn_gae(
    batch: CreditBatch,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    anchor_token: Literal["first", "last"] = "first",
    truncated: Truncated = "end",
) -> Credit:
    """Return A_t = δ_t + γλ A_{t+1}, δ_t = r_t + γ V_{t+1} − V_t over turns t, on all tokens of the turn.

    V_t is the value at the turn's anchor token, r_t the sum of its rewards. The critic learns at anchor tokens only,
    the target is A_t + V_t. The composition "turn_gae" whitens over tokens afterwards (VAGEN `no_concat_gae`, Wang
    et al. 2025, arXiv 2510.16907).

    Args:
        batch: Uses `value_K`, rewards and turns.
        gamma: Discount per turn.
        lam: Trace decay per turn.
        anchor_token: Where the turn's value is read: before its first token, or before its last
            (`no_concat_gae_last`).
        truncated: As for `gae`.
    """
    if anchor_token not in ("first", "last"):
        raise ConfigError(f'anchor_token = {anchor_token!r}: expected "first" or "last"')
    value_K, turns = values(batch), sampled_turns(batch)
    at_U = turns.first_U if anchor_token == "first" else turns.last_U
    value_U = value_K[at_U]
    end_U = end_values(batch, value_U, turns.trajectory_U, truncated)
    advantage_U = advantages(turns.reward_U, value_U, end_U, turns.trajectory_U, gamma, lam)
    advantage_K = advantage_U[turns.turn_K]
    target_K = torch.zeros_like(value_K, dtype=torch.bool)
    target_K[at_U] = True
    return Credit(advantage_K, advantage_K + value_K, target_K)
