"""HiPER: hierarchical advantages for agents that keep or switch a subgoal before they act.

Axis legend: T = turns, S = segments (turns under one subgoal), K = sampled tokens, H = 3 value heads: low, high, term.
"""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch, Plan
from agentrl_trainers.credit._credit import Credit
from agentrl_trainers.credit._gae import advantages
from agentrl_trainers.credit._scan import continues, following, reverse_scan
from agentrl_trainers.credit._segments import group_sum

LOW, HIGH, TERM = range(3)
"""Value heads: of the state and subgoal, of the state at a segment's start, of going on with the subgoal."""


def hiper_hae(
    batch: CreditBatch,
    *,
    gamma: float = 1.0,
    lam_turn: float = 0.95,
    lam_seg: float = 0.95,
    norm_adv: bool = True,
    bootstrap_truncated: bool = True,
    keep_penalty: float = -0.3,
    keep_penalty_mode: Literal["fixed", "normalized"] = "fixed",
    keep_consistency_penalty: float = -0.3,
) -> Credit:
    """Return hierarchical advantages (arXiv 2602.16165); a segment starts at turn 0 and wherever a turn switches.

    low, on action tokens: GAE over the turns of one segment, whose last turn bootstraps V_high of the next segment.
    high, on subgoal tokens of a segment's first turn: over segments of d turns, δ = Σ γ^n r + γ^d V_high(next) −
    V_high(start), A = δ + γ^d λ_seg A_next. term, on switch tokens of every turn: discounted return to the segment's
    end, bootstrapped with V_high(next), minus V_term. Targets: low where the action begins (at the token before it),
    high and term at the turn's first token.

    Defaults are those of the authors' scripts.

    Args:
        batch: Uses `plan`, `value_K` of shape [K, 3], rewards of turns, `finished_N`.
        gamma: Discount per turn.
        lam_turn: Trace decay of the low level, per turn.
        lam_seg: Trace decay of the high level, per segment.
        norm_adv: Normalise each kind over the turns that have it, by population deviation.
        bootstrap_truncated: Value after an episode that a limit ended: the last own one, instead of 0.
        keep_penalty: Reward of every turn that keeps its subgoal, usually negative.
        keep_penalty_mode: "fixed": as it is. "normalized": divided by the number of turns of the trajectory.
        keep_consistency_penalty: Reward of a turn that says "keep" and writes another subgoal.

    Raises:
        ConfigError: The batch has no plan, or no values of three heads.
    """
    plan, value_KH = _inputs(batch)
    reward_T = _shaped_rewards(batch, plan, keep_penalty, keep_penalty_mode, keep_consistency_penalty)
    first_T, before_action_T = _value_positions(batch, plan)
    low_T, high_T, term_T = value_KH[before_action_T, LOW], value_KH[first_T, HIGH], value_KH[first_T, TERM]
    starts_T = plan.switch_T | (batch.turn_T == 0)
    segment_T = starts_T.cumsum(0) - 1
    start_S = torch.nonzero(starts_T).flatten()
    trajectory_S = batch.trajectory_T[start_S]
    cut_S = ~batch.finished_N[trajectory_S] & bootstrap_truncated
    follows_S = continues(trajectory_S)
    zero_S = torch.zeros_like(high_T[start_S])

    # Value after each segment, as its low level and as its high level see it.
    beyond_S = following(high_T[start_S], follows_S, torch.where(cut_S, high_T[start_S], zero_S))
    own_T = torch.where((cut_S & ~follows_S)[segment_T], low_T, beyond_S[segment_T])
    advantage_low_T = advantages(reward_T, low_T, own_T, segment_T, gamma, lam_turn)

    inside_T = continues(segment_T).to(reward_T.dtype)
    return_T = reverse_scan(reward_T, gamma * inside_T)
    span_S = gamma ** group_sum(torch.ones_like(reward_T), segment_T, len(start_S))
    delta_S = return_T[start_S] + span_S * beyond_S - high_T[start_S]
    advantage_S = reverse_scan(delta_S, span_S * lam_seg * follows_S.to(span_S.dtype))
    advantage_high_T = advantage_S[segment_T]
    return_term_T = reverse_scan(reward_T + gamma * (1 - inside_T) * beyond_S[segment_T], gamma * inside_T)

    target_KH = torch.zeros(value_KH.shape, dtype=torch.bool, device=value_KH.device)
    target_KH[before_action_T, LOW] = True
    target_KH[first_T[start_S], HIGH] = True
    target_KH[first_T, TERM] = True
    return_KH = torch.zeros_like(value_KH)
    return_KH[before_action_T, LOW] = advantage_low_T + low_T
    return_KH[first_T[start_S], HIGH] = advantage_S + high_T[start_S]
    return_KH[first_T, TERM] = return_term_T

    advantage_K = torch.zeros_like(value_KH[:, 0])
    for role, advantage_T in (
        (Plan.ACTION, advantage_low_T),
        (Plan.SUBGOAL, advantage_high_T),
        (Plan.SWITCH, return_term_T - term_T),
    ):
        here_K = plan.role_K == role
        if role == Plan.SUBGOAL:
            here_K = here_K & starts_T[batch.turn_K]
        scaled_T = _normalised(advantage_T, batch.turn_K[here_K]) if norm_adv else advantage_T
        advantage_K = torch.where(here_K, scaled_T[batch.turn_K], advantage_K)
    return Credit(advantage_K, return_KH, target_KH)


def _inputs(batch: CreditBatch) -> tuple[Plan, torch.Tensor]:
    if batch.plan is None:
        raise ConfigError("hiper_hae needs turns that say whether they switch their subgoal: the batch has no `plan`")
    if batch.value_K is None or batch.value_K.ndim != 2 or batch.value_K.shape[1] != 3:
        raise ConfigError("hiper_hae needs a critic with three value heads (low, high, term)")
    return batch.plan, batch.value_K


def _shaped_rewards(
    batch: CreditBatch, plan: Plan, keep_penalty: float, mode: str, consistency_penalty: float
) -> torch.Tensor:
    if mode not in ("fixed", "normalized"):
        raise ConfigError(f'keep_penalty_mode = {mode!r}: expected "fixed" or "normalized"')
    keeps_T = ~plan.switch_T
    penalty_T = torch.full_like(batch.reward_T, keep_penalty)
    if mode == "normalized":
        turns_T = torch.bincount(batch.trajectory_T)[batch.trajectory_T]
        penalty_T = torch.where(turns_T > 1, penalty_T / turns_T, torch.zeros_like(penalty_T))
    reward_T = batch.reward_T + keeps_T * penalty_T
    previous_T = torch.roll(plan.subgoal_T, 1)
    both_T = (batch.turn_T > 0) & (plan.subgoal_T >= 0) & (previous_T >= 0)
    return reward_T + (keeps_T & both_T & (plan.subgoal_T != previous_T)) * consistency_penalty


def _value_positions(batch: CreditBatch, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first token of each turn, and the one before its action (the first where nothing precedes it)."""
    counts_T = torch.bincount(batch.turn_K, minlength=len(batch.reward_T))
    if not bool((counts_T > 0).all()):
        raise ConfigError("hiper_hae: a turn has no sampled token, so that it has no value")
    first_T = counts_T.cumsum(0) - counts_T
    place_K = torch.arange(len(batch.turn_K), device=batch.turn_K.device)
    acts_K = plan.role_K == Plan.ACTION
    action_T = first_T.scatter_reduce(0, batch.turn_K[acts_K], place_K[acts_K], "amin", include_self=False)
    return first_T, torch.maximum(action_T - 1, first_T)


def _normalised(advantage_T: torch.Tensor, turn_M: torch.Tensor) -> torch.Tensor:
    chosen_T = torch.zeros(advantage_T.shape, dtype=torch.bool, device=advantage_T.device)
    chosen_T[turn_M] = True
    if not bool(chosen_T.any()):
        return advantage_T
    chosen = advantage_T[chosen_T]
    return (advantage_T - chosen.mean()) / (chosen.std(unbiased=False) + 1e-8)
