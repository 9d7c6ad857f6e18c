"""NGRPO: a group that failed as a whole still learns, by comparison with a success nobody had."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit.estimators._broadcast import to_tokens
from agentrl_trainers.credit.estimators._grpo import EPSILON


def ngrpo(batch: CreditBatch, *, best_reward: float = 1.0, virtual: int = 1) -> torch.Tensor:
    """Return A = (s − mean) / (std + 1e-6), mean and std (n−1) over the group and `virtual` members of the best reward.

    NGRPO (arXiv 2509.18851): in a group of equal failures all advantages become negative instead of 0, and with
    [0, 0, 0, 0] each is −.447. Its objective clips unevenly: `ppo_clip` with .16 below and .24 above. As in its code, a
    group of one gets no virtual member, mean 0 and std 1. A group in which all have the best reward gets exactly 0.

    Args:
        batch: Uses `group_N` and `reward_N`.
        best_reward: The largest reward there can be.
        virtual: How many members are added.
    """
    groups = int(batch.group_N.max()) + 1 if batch.group_N.numel() else 0
    best = batch.reward_N.new_full((groups * virtual,), best_reward)
    members = torch.cat([batch.group_N, torch.arange(groups, device=batch.group_N.device).repeat(virtual)])
    statistics = group_statistics(torch.cat([batch.reward_N, best]), members)
    count = len(batch.reward_N)
    relative_N = statistics.centred_N[:count] / (statistics.deviation_N[:count] + EPSILON)
    alone_N = statistics.count_N[:count] == 1 + virtual
    return to_tokens(batch, torch.where(alone_N, batch.reward_N / (1 + EPSILON), relative_N))
