"""Length reward: among the answers to one task, the short correct ones are preferred."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit.turn_rewards._outcome import add_to_outcome, sampled_tokens


def length_reward(batch: CreditBatch, *, length_weight: float = 1.0, correct_above: float = 0.5) -> CreditBatch:
    """Add w·λ to correct and w·min(0, λ) to other trajectories, λ = .5 − (len − min)/(max − min) within the group.

    The length penalty of Kimi k1.5 (2025, arXiv 2501.12599, section 2.3.3), on sampled tokens. A group of equal lengths
    gets none.

    Args:
        batch: Rewards and structure.
        length_weight: w.
        correct_above: A trajectory is correct whose reward is larger.
    """
    length_N = sampled_tokens(batch).to(batch.reward_N.dtype)
    groups = int(batch.group_N.max()) + 1 if batch.group_N.numel() else 0
    blank_G = length_N.new_zeros(groups)
    shortest_N = blank_G.scatter_reduce(0, batch.group_N, length_N, "amin", include_self=False)[batch.group_N]
    longest_N = blank_G.scatter_reduce(0, batch.group_N, length_N, "amax", include_self=False)[batch.group_N]
    spread_N = longest_N - shortest_N
    preference_N = 0.5 - (length_N - shortest_N) / spread_N.clamp(min=1)
    preference_N = torch.where(batch.reward_N > correct_above, preference_N, preference_N.clamp(max=0))
    return add_to_outcome(batch, length_weight * torch.where(spread_N > 0, preference_N, 0))
