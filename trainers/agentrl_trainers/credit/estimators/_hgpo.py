"""HGPO: steps from the same state are compared at every depth of shared history, deep agreement weighing more."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit._turns import discounted_returns
from agentrl_trainers.credit.estimators._gigpo import episode_advantages, pair_index, step_groups
from agentrl_trainers.credit.estimators._relative import EPSILON, Normalisation, relative

_ZERO = 1e-7
"""An advantage below this is no opinion: its level does not dilute the others."""


def hgpo(
    batch: CreditBatch,
    *,
    gamma: float = 0.95,
    history: int = 2,
    alpha: float = 1.0,
    mode: Normalisation = "mean_std_norm",
    base_group: bool = False,
) -> torch.Tensor:
    """Return A = Σ_k w_k·a_k for every token, over the levels with a_k ≠ 0 (HGPO, ICLR 2026).

    Level k compares the step returns of turns of one group whose last k states, the present one included, are equal;
    k = 1..min(history + 1, turn + 1). w_k = (k+1)^α / (Σ (k+1)^α + 1e-6). A turn that shares its state with no other
    gets 0. Example, α 1: a = 1.2247 at level 1 and 1 at level 2 give (2·1.2247 + 3·1)/5 = 1.0899.

    Args:
        batch: Uses rewards and `anchor_T`; a turn without anchor has no level, and none reaches past it.
        gamma: γ of the step return, over turns.
        history: Earlier states that are compared (`history_length` of the authors' environments, 2 or 4).
        alpha: α: how much more a deeper level weighs.
        mode: "mean_std_norm" (population std + 1e-6) or "mean_norm".
        base_group: Add the episode advantage of GiGPO (across steps, unbiased std) as level 0.

    Raises:
        ConfigError: Unknown mode.
    """
    return_T = discounted_returns(batch, batch.reward_T, gamma)
    levels = []
    if base_group:
        levels.append((0, episode_advantages(batch, mode=mode, cross_steps=True)))
    for level, (key_T, reaches_T) in enumerate(history_groups(batch, history), start=1):
        compared = relative(group_statistics(return_T[reaches_T], key_T[reaches_T]), mode, population=True)
        levels.append((level, torch.zeros_like(return_T).masked_scatter_(reaches_T, compared)))
    total_T, weight_T = torch.zeros_like(return_T), torch.zeros_like(return_T)
    for level, advantage_T in levels:
        counted_T = (advantage_T.abs() > _ZERO).to(return_T.dtype) * (level + 1) ** alpha
        total_T += counted_T * advantage_T
        weight_T += counted_T
    return (total_T / (weight_T + EPSILON))[batch.turn_K]


def history_groups(batch: CreditBatch, history: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield, for k = 1..history+1, the index of each turn's last k states [T] and which turns have that many [T]."""
    state_T = step_groups(batch)
    key_T, reaches_T = state_T, batch.anchor_T >= 0
    for level in range(1, history + 2):
        yield key_T, reaches_T
        earlier_T, earlier_reaches_T = key_T.roll(1), reaches_T.roll(1)
        reaches_T = earlier_reaches_T & (batch.anchor_T >= 0) & (batch.turn_T >= level)
        if not bool(reaches_T.any()):
            return
        key_T = pair_index(earlier_T, state_T)
