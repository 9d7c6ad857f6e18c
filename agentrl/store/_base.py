"""The contract of the trajectory store: durable before acknowledged, idempotent by id, consumed with a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentrl.trajectory import Span, Trajectory, Turn

STORE_NAME = "trajectories.db"
"""Name of the store's file in a run folder."""


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A group that has been admitted: which task, how many members, at which place in the task order.

    Attributes:
        id: Unique in the run and derived from its index.
        index: Place in the run's task order, from 0.
        env: Name of the environment.
        split, task_index: Where its task source finds the task again.
        size: Members wanted.
        version: Policy version at admission.
    """

    id: str
    index: int
    env: str
    split: str
    task_index: int
    size: int
    version: int


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One line of the turn log: enough to resume an unfinished episode by replay.

    Attributes:
        trajectory_id: Trajectory it will belong to.
        group_id, member, retry: Which attempt this is.
        index: Turn number, from 0.
        spans: Spans that this turn added, in order (for turn 0 the prompt too).
        turn: The turn.
    """

    trajectory_id: str
    group_id: str
    member: int
    retry: int
    index: int
    spans: tuple[Span, ...]
    turn: Turn


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A checkpoint the store has tied consumed trajectories to.

    Attributes:
        step: Optimizer steps taken.
        version: Policy version of its weights.
        path: Folder, relative to the run folder.
    """

    step: int
    version: int
    path: str


@dataclass(frozen=True, slots=True)
class ClaimedGroup:
    """A complete group claimed for one optimizer step; members sorted by their index, errors included."""

    group: GroupRecord
    members: tuple[Trajectory, ...]


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """How much the store holds, by state.

    Attributes:
        groups: Groups admitted.
        trajectories: Trajectories stored, errors included.
        finished: Those of them that are no errors.
        claimed: Trajectories claimed for a step that no checkpoint covers yet.
        consumed: Trajectories that a checkpoint marked as trained on.
        errors: Trajectories stored with `status=error`.
        turns: Turns stored, of finished and unfinished trajectories.
    """

    groups: int
    trajectories: int
    finished: int
    claimed: int
    consumed: int
    errors: int
    turns: int


class TrajectoryStore(Protocol):
    """An append-only log of turns and trajectories. Every method returns once its effect is durable."""

    async def open_group(self, group: GroupRecord) -> None:
        """Record an admission; repeating it changes nothing."""
        ...

    async def open_groups(self) -> list[GroupRecord]:
        """Return groups that lack members, by index: what a resumed run must finish first."""
        ...

    async def next_group_index(self) -> int:
        """Return the first group index that was never admitted."""
        ...

    async def members(self, group_id: str) -> set[int]:
        """Return the members of a group that have a stored trajectory."""
        ...

    async def append_turn(self, record: TurnRecord) -> None:
        """Append to the turn log; repeating it changes nothing."""
        ...

    async def turns(self, trajectory_id: str) -> list[TurnRecord]:
        """Return the turn log of one attempt, in order."""
        ...

    async def add(self, trajectory: Trajectory) -> bool:
        """Store a finished trajectory with its spans; False where (group, member) is already there.

        Raises:
            StoreError: The disk is full or the file damaged; nothing is acknowledged then.
        """
        ...

    async def claim(self, step: int, groups: int) -> list[ClaimedGroup]:
        """Claim the oldest complete unclaimed groups for an optimizer step; [] where there are not enough.

        Claiming again for the same step returns the same groups.
        """
        ...

    async def commit_checkpoint(self, checkpoint: CheckpointRecord) -> None:
        """In one transaction: record the checkpoint and mark everything claimed for its steps as consumed."""
        ...

    async def last_checkpoint(self) -> CheckpointRecord | None:
        """Return the newest committed checkpoint."""
        ...

    async def record_version(self, version: int, step: int) -> None:
        """Record that a policy version is about to be published; a number never names two sets of weights."""
        ...

    async def last_version(self) -> int | None:
        """Return the largest policy version ever recorded."""
        ...

    async def recover(self) -> int:
        """After a crash: release claims that no checkpoint consumed. Returns how many trajectories were released."""
        ...

    async def trajectories(self, group_ids: Sequence[str] | None = None) -> list[Trajectory]:
        """Return stored trajectories, all or of the named groups, in the order they were stored."""
        ...

    async def counts(self) -> StoreCounts:
        """Return how much the store holds."""
        ...

    async def close(self) -> None:
        """Finish writing and close the file."""
        ...
