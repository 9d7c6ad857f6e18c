"""What the scheduler has done and what is under way: numbers for the live panel, sentences for a hung run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentrl.rollout._clock import monotonic
from agentrl.rollout._decisions import Obstacle
from agentrl.rollout._progress import EpisodeProgress, Phase
from agentrl.trajectory import Status, Trajectory

LONGEST_WAITS = 40
"""Episodes that a description lists, those that have waited longest first."""


@dataclass(frozen=True, slots=True)
class RolloutStats:
    """A snapshot. Totals count from the start of this process.

    Attributes:
        in_flight: Trajectories under way.
        waiting_on_engine, waiting_on_env: Those of them that wait for tokens, and for their environment.
        admitted: Trajectories started.
        finished: Trajectories delivered, errors included.
        errors: Those of them with status error.
        retried: Attempts that failed and were started again.
        turns: Turns completed, those of failed attempts and of live episodes included.
        sampled_tokens: Tokens of all generations that came to their end.
        interruptions: How often new weights interrupted a generation.
        mean_episode_seconds: Mean life of the delivered trajectories that are no errors; 0 without any.
        blocked_by_staleness_seconds: Time in which capacity was free and only the staleness bound forbade to use it.
        groups_admitted: Index of the next group to be admitted.
        version, step: Newest published policy version, and the optimizer steps in it.
    """

    in_flight: int
    waiting_on_engine: int
    waiting_on_env: int
    admitted: int
    finished: int
    errors: int
    retried: int
    turns: int
    sampled_tokens: int
    interruptions: int
    mean_episode_seconds: float
    blocked_by_staleness_seconds: float
    groups_admitted: int
    version: int
    step: int


class RolloutTally:
    """Running totals over attempts that are over."""

    def __init__(self) -> None:
        self.admitted = 0
        self.finished = 0
        self.errors = 0
        self.retried = 0
        self.turns = 0
        self.sampled_tokens = 0
        self.interruptions = 0
        self._good = 0
        self._seconds = 0.0

    @property
    def mean_episode_seconds(self) -> float:
        """Mean life of the delivered trajectories that are no errors."""
        return self._seconds / self._good if self._good else 0.0

    def retire(self, progress: EpisodeProgress) -> None:
        """Add what a live attempt counted."""
        self.turns += progress.turns
        self.sampled_tokens += progress.sampled_tokens
        self.interruptions += progress.interruptions

    def deliver(self, trajectory: Trajectory) -> None:
        """Count a delivered trajectory."""
        self.finished += 1
        if trajectory.status is Status.ERROR:
            self.errors += 1
        else:
            self._good += 1
            self._seconds += trajectory.finished - trajectory.started


class BlockedClock:
    """How long, and since when, the scheduler has been kept from starting work, by obstacle."""

    def __init__(self) -> None:
        self.obstacle: Obstacle | None = None
        self._since = monotonic()
        self._totals: dict[Obstacle, float] = {}

    def note(self, obstacle: Obstacle | None) -> None:
        """Note what stands in the way from now on."""
        if obstacle is self.obstacle:
            return
        if self.obstacle is not None:
            self._totals[self.obstacle] = self.total(self.obstacle)
        self.obstacle = obstacle
        self._since = monotonic()

    def present(self) -> float:
        """Return the seconds since the present obstacle came up."""
        return monotonic() - self._since

    def total(self, obstacle: Obstacle) -> float:
        """Return the seconds lost to an obstacle, the present stretch included."""
        return self._totals.get(obstacle, 0.0) + (self.present() if obstacle is self.obstacle else 0.0)


def waiting(live: Iterable[EpisodeProgress], phase: Phase) -> int:
    """Return how many episodes wait for `phase`."""
    return sum(progress.phase is phase for progress in live)


def describe_episodes(live: Mapping[str, EpisodeProgress]) -> list[str]:
    """Return a line per live episode: who it waits for and since when, the longest wait first."""
    if not live:
        return ["no episode is under way"]
    by_phase = {phase: waiting(live.values(), phase) for phase in Phase}
    counts = ", ".join(f"{count} for {phase}" for phase, count in by_phase.items() if count)
    lines = [f"{len(live)} episodes under way wait: {counts}"]
    longest = sorted(live.items(), key=lambda item: item[1].since)
    lines += [f"  {name} {progress.describe()}" for name, progress in longest[:LONGEST_WAITS]]
    if len(longest) > LONGEST_WAITS:
        lines.append(f"  and {len(longest) - LONGEST_WAITS} more")
    return lines
