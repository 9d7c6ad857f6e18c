"""The ragged batch that credit works on: flat arrays over trajectories, turns and sampled tokens.

Environment tokens are not in it at all, so no method can give them credit, and there is no padding to leak into a
statistic. Axis legend: N = trajectories, T = turns of all trajectories, K = sampled tokens of all turns. Rows are in
order: turns of one trajectory are contiguous, tokens of one turn are contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class Plan:
    """What turns say about subgoals, for methods that credit deciding on one apart from acting under it.

    Attributes:
        switch_T: Whether the turn takes up a new subgoal; otherwise it says that it keeps the one it has.
        subgoal_T: Index of the turn's subgoal as written, equal texts equal numbers; -1 = none.
        role_K: What each sampled token belongs to: SWITCH, SUBGOAL, ACTION, or OTHER.
    """

    OTHER: ClassVar[int] = -1
    SWITCH: ClassVar[int] = 0
    SUBGOAL: ClassVar[int] = 1
    ACTION: ClassVar[int] = 2

    switch_T: torch.Tensor
    subgoal_T: torch.Tensor
    role_K: torch.Tensor


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
        reward_K: Reward of each token, where it is known per token (KL in the reward). None = the reward of a turn
            sits on its last sampled token.
        value_K: Critic values of the states before the tokens, where a method needs them; [K, H] for H value heads.
        bootstrap_N: Critic value of what follows a trajectory's last token; None = the value of the last token is
            taken for it, where a method bootstraps at all.
        fresh_K: Whether the token was sampled in the window that is trained on now; None = all were.
        squared_K: Σ_v π(v)² of the distribution each token was sampled from, where a method needs it.
        position_K: Position that tokens of a group are compared at; None = number of the token in its trajectory.
        baseline_N: A baseline for the reward that was made elsewhere: a greedy rollout's, a tracked value.
        part_NP: Reward parts of each trajectory by column; nan = not scored. None = the reward has no parts.
        part_names: Names of these columns.
        plan: Subgoals of the turns, where a method needs them.
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
    reward_K: torch.Tensor | None = None
    value_K: torch.Tensor | None = None
    bootstrap_N: torch.Tensor | None = None
    fresh_K: torch.Tensor | None = None
    squared_K: torch.Tensor | None = None
    position_K: torch.Tensor | None = None
    baseline_N: torch.Tensor | None = None
    part_NP: torch.Tensor | None = None
    part_names: tuple[str, ...] = ()
    plan: Plan | None = None
    belief_T: torch.Tensor | None = None
    information_T: torch.Tensor | None = None
    shared_K: torch.Tensor | None = None
