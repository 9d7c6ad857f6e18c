"""REINFORCE++: discounted returns of tokens, without group and without critic."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._scan import continues, reverse_scan
from agentrl_trainers.credit._tokens import token_rewards, trajectory_of_tokens


def reinforce_pp(batch: CreditBatch, *, gamma: float = 1.0) -> torch.Tensor:
    """Return G_k = r_k + γ G_{k+1} over the sampled tokens of a trajectory (Hu et al. 2025, arXiv 2501.03262).

    Where the reward has a KL penalty per token, it is in `reward_K`. Environment tokens carry the return unchanged.
    The composition "reinforce_pp" whitens over all tokens of the batch, which takes the place of a baseline.

    Args:
        batch: Uses rewards.
        gamma: Discount per sampled token.
    """
    reward_K = token_rewards(batch)
    follows_K = continues(trajectory_of_tokens(batch))
    return reverse_scan(reward_K, gamma * follows_K.to(reward_K.dtype))
