"""Retries from the same seed, and the point at which failing stops being bad luck."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from agentrl.errors import EnvError, PolicyError
from agentrl.rollout._identity import EpisodeIdentity
from agentrl.trajectory import Status, StopReason, Trajectory


class ErrorStreak:
    """Counts infrastructure failures of one environment in a row, over all its episodes.

    Args:
        env: The environment's name.
        patience: Failures in a row at which a run gives up; 0 = never.
    """

    def __init__(self, env: str, patience: int) -> None:
        self._env = env
        self._patience = patience
        self._length = 0

    def record(self, trajectory: Trajectory) -> None:
        """Count one attempt.

        Raises:
            EnvError: The environment failed `patience` times in a row.
            PolicyError: So did the policy engine under its episodes.
        """
        if trajectory.status is not Status.ERROR:
            self._length = 0
            return
        self._length += 1
        if self._patience and self._length >= self._patience:
            cls = PolicyError if trajectory.stop_reason is StopReason.ENGINE_ERROR else EnvError
            raise cls(
                f"environment {self._env}: {self._length} episodes in a row failed, none succeeded since; the last "
                f"({trajectory.id}): {trajectory.error}. Mend the cause and go on with --resume: everything finished "
                "before is kept."
            )


async def run_attempts(
    identity: EpisodeIdentity,
    attempt: Callable[[EpisodeIdentity], Awaitable[Trajectory]],
    *,
    retries: int,
    streak: ErrorStreak,
    failed: Callable[[Trajectory, bool], None] | None = None,
) -> Trajectory:
    """Play an episode, again from the same seed while its infrastructure fails, and return the last attempt.

    Args:
        identity: Of the first attempt; later ones count up its `retry`, which names them apart.
        attempt: Plays one attempt.
        retries: How often to try again.
        streak: Where failures are counted.
        failed: Told of each failed attempt and whether another follows.
    """
    for left in range(retries, -1, -1):
        trajectory = await attempt(identity)
        if trajectory.status is Status.ERROR and failed is not None:
            failed(trajectory, left > 0)
        streak.record(trajectory)
        if trajectory.status is not Status.ERROR:
            break
        identity = dataclasses.replace(identity, retry=identity.retry + 1)
    return trajectory
