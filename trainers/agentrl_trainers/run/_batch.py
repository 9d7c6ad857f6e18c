"""From claimed groups to what the learner trains on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from agentrl.store import ClaimedGroup, TrajectoryStore
from agentrl.trajectory import Status, Trajectory


@dataclass(frozen=True, slots=True)
class Batch:
    """One optimizer step's trajectories.

    Attributes:
        groups: What was claimed, errors included.
        trainable: Members with a reward, in order of group and member.
        waited: Seconds the trainer waited for it.
    """

    groups: tuple[ClaimedGroup, ...]
    trainable: tuple[Trajectory, ...]
    waited: float

    def errors(self) -> int:
        """Return how many members are infrastructure failures."""
        return sum(member.status is Status.ERROR for group in self.groups for member in group.members)

    def unscored(self) -> int:
        """Return how many members ended without a reward, though nothing failed."""
        return sum(
            member.status is not Status.ERROR and member.reward is None
            for group in self.groups
            for member in group.members
        )


def trainable(groups: Sequence[ClaimedGroup]) -> tuple[Trajectory, ...]:
    """Return the members that can be trained on: scored, no infrastructure failure, and with a turn."""
    return tuple(
        member
        for group in groups
        for member in group.members
        if member.status is not Status.ERROR and member.reward is not None and member.turns
    )


async def next_batch(store: TrajectoryStore, step: int, groups: int, arrived: asyncio.Event) -> Batch:
    """Claim the groups of optimizer step `step`, waiting until enough are complete.

    The caller owns the wait: it is cancelled on a stop, and the run's watchdog says who is late.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    while True:
        arrived.clear()
        claimed = await store.claim(step, groups)
        if claimed:
            return Batch(tuple(claimed), trainable(claimed), loop.time() - start)
        await arrived.wait()
