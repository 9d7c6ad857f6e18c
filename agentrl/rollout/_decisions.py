"""The scheduler's decisions as pure functions: no I/O, no clock, so that a simulator can drive the very same code.

Everything is counted in groups and optimizer steps, never by arithmetic on version numbers: versions need not start at
0 and jump when a run resumes. Array legend: K = sampled tokens.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrl.trajectory._types import Int32


@dataclass(frozen=True, slots=True)
class AdmissionRule:
    """Which groups may start, so that no group is too old when groups are trained on in index order.

    Group i is trained on in step ⌊i / B⌋. If it starts once the weights of step s are published and
    i < (s + staleness + 1) · B, it is trained on at most `staleness` versions later. With staleness 0 nothing of the
    next step starts before the weights of this one are published: synchronous training.

    Attributes:
        groups_per_step: B, groups that one optimizer step trains on.
        staleness: Policy versions a token may be old when it is trained on.
        base_step: Optimizer steps taken before this run of the process.
        base_groups: Groups trained on before this run of the process; B · base_step unless B has changed since.
    """

    groups_per_step: int
    staleness: int
    base_step: int = 0
    base_groups: int = 0

    def limit(self, published_step: int) -> int:
        """Return the first group index that may not start yet.

        Args:
            published_step: Optimizer steps contained in the newest weights that sample.
        """
        consumed = self.base_groups + (published_step - self.base_step) * self.groups_per_step
        return consumed + (self.staleness + 1) * self.groups_per_step

    def step_needed(self, group_index: int) -> int:
        """Return the smallest published step at which a group may start."""
        beyond = group_index - self.base_groups - (self.staleness + 1) * self.groups_per_step + 1
        return self.base_step + max(0, -(-beyond // self.groups_per_step))


class Obstacle(enum.StrEnum):
    """Why no further trajectory is started now."""

    PAUSED = "paused"
    """The owner asked for a pause."""
    IN_FLIGHT = "in_flight"
    """As many trajectories are under way as are allowed."""
    STALENESS = "staleness"
    """The next group would be too old when it is trained on: the trainer must publish first."""
    OPENING = "opening"
    """The admission of the next group is being made durable."""
    EXHAUSTED = "exhausted"
    """Every group of the run has been started."""


def obstacle(
    rule: AdmissionRule, *, next_group: int | None, published_step: int, live: int, in_flight: int, paused: bool
) -> Obstacle | None:
    """Return what keeps the next trajectory from starting, or None when it may start.

    Args:
        rule: The staleness rule.
        next_group: Index of the group whose member would start, or None where no work is left.
        published_step: Optimizer steps contained in the newest published weights.
        live: Trajectories under way.
        in_flight: Most trajectories under way: capacity is counted in trajectories, not in groups.
        paused: Whether the owner asked for a pause.
    """
    if next_group is None:
        return Obstacle.EXHAUSTED
    if paused:
        return Obstacle.PAUSED
    if live >= in_flight:
        return Obstacle.IN_FLIGHT
    if next_group >= rule.limit(published_step):
        return Obstacle.STALENESS
    return None


def groups_to_open(
    rule: AdmissionRule,
    *,
    next_index: int,
    total_groups: int | None,
    published_step: int,
    pending: int,
    free: int,
    ahead: int,
    group_size: int,
) -> int:
    """Return how many groups to admit now: enough to fill every free place, and some ahead of need.

    Admissions wait for the disk: made together they share that wait, and made ahead they keep no place waiting.

    Args:
        rule: The staleness rule.
        next_index: First group that is not admitted.
        total_groups: Groups of the whole run, or None for no end.
        published_step: Optimizer steps contained in the newest published weights.
        pending: Members of admitted groups that are not started.
        free: Trajectories that may be started now.
        ahead: Members to have ready beyond these.
        group_size: Members of a group.
    """
    end = rule.limit(published_step) if total_groups is None else min(rule.limit(published_step), total_groups)
    wanted = -(-max(0, free + ahead - pending) // group_size)
    return max(0, min(wanted, end - next_index))


def decode_priority(group_index: int, turn: int, max_turns: int) -> float:
    """Return a request's priority, smaller first: the group admitted earlier, then the turn that is further behind.

    Args:
        group_index: Place of the group in the order of admission.
        turn: Turn number within the episode, from 0.
        max_turns: Most turns of an episode; keeps the turn's share below one group.
    """
    return group_index + min(turn, max_turns) / (max_turns + 1)


def token_staleness(versions: Int32, lineage: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return how many publications ago each token was sampled [K]; 0 under the newest weights.

    Args:
        versions: Policy version of each token [K].
        lineage: Versions the trainer has published, rising, the newest last; gaps are allowed. The versions before
            the first are taken to be consecutive, which can only overstate the age of older tokens.
    """
    known = np.asarray(lineage, dtype=np.int64)
    if known.size == 0:
        raise ValueError("lineage is empty: the version that is trained on must be in it")
    sampled = versions.astype(np.int64)
    newer = known.size - np.searchsorted(known, sampled, side="right")
    before = np.maximum(known[0] - sampled, 0)
    # A token older than the lineage was counted once for known[0] already.
    return np.asarray(newer + np.maximum(before - 1, 0), dtype=np.int64)


def beyond_bound(versions: Int32, lineage: Sequence[int], staleness: int) -> npt.NDArray[np.bool_]:
    """Return which tokens must not be trained on: those older than the bound [K]. Arguments as `token_staleness`."""
    return np.asarray(token_staleness(versions, lineage) > staleness, dtype=np.bool_)
