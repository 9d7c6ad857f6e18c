"""What several methods say about the same recorded trajectories, turn by turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentrl.errors import AgentRLError
from agentrl.trajectory import Status, Trajectory
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._build import credit_batch
from agentrl_trainers.credit._compositions import assign, composition
from agentrl_trainers.credit._needs import Need


@dataclass(frozen=True)
class TurnCredit:
    """One turn and what each method gives it.

    Attributes:
        trajectory: The trajectory.
        turn: Index of the turn in it.
        reward: What the turn earned; a trajectory's outcome sits on its last turn.
        anchor_group: Turns of the group that acted from the same state, this one included; 0 = state not named.
        advantages: Mean over the turn's tokens, by method; methods that could not be computed are left out.
    """

    trajectory: Trajectory
    turn: int
    reward: float
    anchor_group: int
    advantages: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """The same turns under several methods.

    Attributes:
        methods: Those that could be computed, in the order asked for.
        missing: Why the others could not, by name.
        turns: By group, member and turn.
        left_out: Trajectories without a reward: infrastructure failures and unscored ones.
    """

    methods: tuple[str, ...]
    missing: dict[str, str]
    turns: tuple[TurnCredit, ...]
    left_out: int


def compare(trajectories: Sequence[Trajectory], methods: Sequence[str]) -> Comparison:
    """Recompute the credit of trajectories under several methods.

    The trajectories are one batch: methods that centre or scale over the batch do so over all of them.

    Raises:
        ConfigError: A method is unknown. A method that the record has too little for is no error: see `missing`.
    """
    for name in methods:
        composition(name)
    scored = [row for row in trajectories if row.status is not Status.ERROR and row.reward is not None and row.turns]
    # They are stored as they finished.
    scored.sort(key=lambda row: (row.group_id, row.member))
    if not scored:
        return Comparison((), dict.fromkeys(methods, "no trajectory has a reward"), (), len(trajectories))
    batch = credit_batch(scored)
    tokens_T = torch.bincount(batch.turn_K, minlength=len(batch.turn_T))
    known: dict[str, list[float]] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(methods):
        lacking = [need.what for need in composition(name).needs if need not in recorded_needs(batch)]
        if lacking:
            missing[name] = "; ".join(sorted(lacking))
            continue
        try:
            advantage_K = assign(name, batch)
        except (AgentRLError, ValueError) as error:
            missing[name] = str(error)
            continue
        sum_T = torch.zeros(len(tokens_T)).index_add_(0, batch.turn_K, advantage_K)
        known[name] = (sum_T / tokens_T.clamp(min=1)).tolist()
    places = [(row, index) for row in scored for index in range(len(row.turns))]
    rewards, sizes = batch.reward_T.tolist(), _anchor_groups(batch)
    turns = tuple(
        TurnCredit(row, index, rewards[place], sizes[place], {name: values[place] for name, values in known.items()})
        for place, (row, index) in enumerate(places)
    )
    return Comparison(tuple(known), missing, turns, len(trajectories) - len(scored))


def recorded_needs(batch: CreditBatch) -> frozenset[Need]:
    """Return what a batch made from records provides."""
    there = {
        Need.ANCHORS: bool((batch.anchor_T >= 0).any()),
        Need.GROUND_TRUTH: batch.belief_T is not None,
        Need.ENTROPIES: batch.entropy_K is not None,
        Need.CRITIC: batch.value_K is not None,
        Need.PLANS: batch.plan is not None,
        Need.GREEDY: batch.baseline_N is not None,
        Need.TRACKER: batch.baseline_N is not None,
        Need.PROBABILITIES: batch.squared_K is not None,
    }
    return frozenset(need for need, present in there.items() if present)


def _anchor_groups(batch: CreditBatch) -> list[int]:
    """Return for each turn how many turns of its group acted from the same state."""
    group_T = batch.group_N[batch.trajectory_T].tolist()
    places = list(zip(group_T, batch.anchor_T.tolist(), strict=True))
    counts = Counter(places)
    return [counts[place] if place[1] >= 0 else 0 for place in places]
