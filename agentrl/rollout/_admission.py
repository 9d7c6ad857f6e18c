"""Admitted work: which members of which groups are to be played next, durable before any of them starts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from agentrl.errors import ConfigError
from agentrl.rollout._decisions import AdmissionRule, groups_to_open
from agentrl.rollout._identity import group_id
from agentrl.rollout._order import TaskOrder
from agentrl.rollout._plan import RolloutPlan
from agentrl.store._base import GroupRecord, TrajectoryStore

ADMITTED_AHEAD = 8
"""The share of all places, one in so many, for which work is made ready ahead: what ends while a disk write lasts."""


@dataclass(frozen=True, slots=True)
class Member:
    """A trajectory that is to be made.

    Attributes:
        group: The group it belongs to.
        member: Index within the group.
        resumed: Whether an earlier process may have begun it.
    """

    group: GroupRecord
    member: int
    resumed: bool = False


class AdmittedWork:
    """Members that may be started, in order; groups are admitted through the store ahead of need.

    Args:
        plan: Sizes and limits.
        order: Which task each group gets.
        rule: The staleness rule.
        store: Makes admissions durable.
    """

    def __init__(self, plan: RolloutPlan, order: TaskOrder, rule: AdmissionRule, store: TrajectoryStore) -> None:
        self._plan = plan
        self._order = order
        self._rule = rule
        self._store = store
        self._ready: deque[Member] = deque()
        self._next_index = 0

    @property
    def next_index(self) -> int:
        """First group index that is not admitted."""
        return self._next_index

    def __len__(self) -> int:
        """Return the number of members that wait to be started."""
        return len(self._ready)

    def upcoming(self) -> int | None:
        """Return the group whose member comes next, admitted or not; None where no work is left."""
        if self._ready:
            return self._ready[0].group.index
        total = self._plan.total_groups
        return None if total is not None and self._next_index >= total else self._next_index

    def take(self) -> Member:
        """Take the next member out."""
        return self._ready.popleft()

    async def take_up_unfinished(self, environments: Collection[str]) -> None:
        """Begin with what an earlier process admitted and did not finish.

        Raises:
            ConfigError: A group belongs to an environment that the run no longer has.
        """
        for group in await self._store.open_groups():
            if group.env not in environments:
                raise ConfigError(
                    f"group {group.id} was begun on environment {group.env!r}, which this run does not have; it has "
                    f"{', '.join(sorted(environments))}. Resume with the environments the run began with."
                )
            there = await self._store.members(group.id)
            self._ready += [Member(group, member, True) for member in range(group.size) if member not in there]
        self._next_index = await self._store.next_group_index()

    async def admit(self, *, published_step: int, version: int, free: int) -> int:
        """Admit groups for the free places and some ahead; return how many.

        Args:
            published_step: Optimizer steps contained in the newest published weights.
            version: Their policy version, kept with the group.
            free: Trajectories that may be started now.
        """
        plan = self._plan
        count = groups_to_open(
            self._rule,
            next_index=self._next_index,
            total_groups=plan.total_groups,
            published_step=published_step,
            pending=len(self._ready),
            free=free,
            ahead=max(plan.group_size, plan.in_flight // ADMITTED_AHEAD),
            group_size=plan.group_size,
        )
        groups = [self._group(index, version) for index in range(self._next_index, self._next_index + count)]
        # Handed to the store in the order of their indices: after a crash it holds all up to one of them.
        async with asyncio.TaskGroup() as admissions:
            for group in groups:
                admissions.create_task(self._store.open_group(group))
        self._next_index += count
        self._ready += [Member(group, member) for group in groups for member in range(group.size)]
        return count

    def _group(self, index: int, version: int) -> GroupRecord:
        place = self._order.place(index)
        return GroupRecord(
            id=group_id(self._plan.run_id, index),
            index=index,
            env=place.env,
            split=place.split,
            task_index=place.task_index,
            size=self._plan.group_size,
            version=version,
        )
