"""The ragged batch that credit works on: flat arrays over trajectories, turns and sampled tokens.

Environment tokens are not in it at all, so no method can give them credit, and there is no padding to leak into a
statistic. Axis legend: N = trajectories, T = turns of all trajectories, K = sampled tokens of all turns. Rows are in
order: turns of one trajectory are contiguous, tokens of one turn are contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CreditBatch:
    """Rewards and structure of a batch of trajectories.

    Attributes:
        group_N: Group index of each trajectory, 0..G-1 (int64).
        reward_N: Total reward of each trajectory.
        trajectory_T: Trajectory index of each turn (int64, non-decreasing).
        turn_T: Position of the turn within its trajectory, from 0 (int64).
        reward_T: Reward earned by the turn; the outcome part sits on a trajectory's last turn. Sums to reward_N.
        anchor_T: Index of the environment state before the turn's action, equal states equal numbers; -1 = no anchor.
        valid_T: Whether the action was valid.
        turn_K: Turn index of each token (int64, non-decreasing).
        finished_N: False where a limit ended the trajectory (no bootstrap is zero then).
        logprob_K: Log-probs under the proximal policy, where a method needs them.
        entropy_K: Entropies in nats, where a method needs them.
        value_K: Critic values, where a method needs them.
        belief_T: Mean log-prob that the policy gave the true answer *before* the turn; nan = not scored.
        information_T: Information gained by the turn; nan = unknown, and on a trajectory's last turn.
        shared_K: Index of the first copy of each token: branches hold the very tokens of their parent. None where no
            two trajectories share any.
    """

    group_N: torch.Tensor
    reward_N: torch.Tensor
    trajectory_T: torch.Tensor
    turn_T: torch.Tensor
    reward_T: torch.Tensor
    anchor_T: torch.Tensor
    valid_T: torch.Tensor
    turn_K: torch.Tensor
    finished_N: torch.Tensor
    logprob_K: torch.Tensor | None = None
    entropy_K: torch.Tensor | None = None
    value_K: torch.Tensor | None = None
    belief_T: torch.Tensor | None = None
    information_T: torch.Tensor | None = None
    shared_K: torch.Tensor | None = None
