"""Token GAE for many turns: the critic's values of sampled tokens only; environment tokens do not exist for it."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._credit import Credit
from agentrl_trainers.credit._gae import advantages
from agentrl_trainers.credit._scan import continues
from agentrl_trainers.credit._tokens import Truncated, end_values, token_rewards, trajectory_of_tokens, values


def gae(
    batch: CreditBatch,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    truncated: Truncated = "end",
    zero_truncated_reward: bool = False,
) -> Credit:
    """Return A_k = δ_k + γλ A_{k+1}, δ_k = r_k + γ V_{k+1} − V_k, with k+1 the next *sampled* token; targets A + V.

    As in verl since 2025-08 and in AReaL: the recursion is carried unchanged over environment tokens, so γ is not
    applied to them and their values are never bootstrapped from. The composition "gae" whitens the advantages
    afterwards; targets are those from before.

    Args:
        batch: Uses `value_K`, rewards, and `finished_N` for the two options below.
        gamma: Discount per sampled token.
        lam: Trace decay.
        truncated: "end": the value after the last token is 0 (verl). "bootstrap": after a trajectory that a limit
            ended it is the critic's (AReaL, which takes that of the last token).
        zero_truncated_reward: A trajectory that a limit ended earns nothing with its last token (AReaL's
            `mask_no_eos_with_zero`).
    """
    value_K, reward_K, index_K = values(batch), token_rewards(batch), trajectory_of_tokens(batch)
    if zero_truncated_reward:
        cut_K = ~continues(index_K) & ~batch.finished_N[index_K]
        reward_K = torch.where(cut_K, torch.zeros_like(reward_K), reward_K)
    end_K = end_values(batch, value_K, index_K, truncated)
    advantage_K = advantages(reward_K, value_K, end_K, index_K, gamma, lam)
    return Credit(advantage_K, advantage_K + value_K, torch.ones_like(value_K, dtype=torch.bool))
