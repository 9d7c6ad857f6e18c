"""What an episode is doing right now, for the live panel and for telling who waits for whom."""

from __future__ import annotations

import enum

from agentrl.rollout._clock import monotonic


class Phase(enum.StrEnum):
    """Who an episode waits for."""

    STARTING = "starting"
    ENGINE = "engine"
    ENVIRONMENT = "environment"
    STORE = "store"
    CLOSING = "closing"
    DELIVERY = "delivery"


class EpisodeProgress:
    """Mutable record of a live episode; written by the episode, read by statistics and the watchdog.

    Attributes:
        phase: Who it waits for.
        what: What it waits for, in words.
        since: `monotonic()` at which the wait began.
        turns: Turns completed.
        sampled_tokens: Tokens sampled.
        interruptions: How often new weights interrupted a generation.
    """

    __slots__ = ("interruptions", "phase", "sampled_tokens", "since", "turns", "what")

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.what = "its turn to run"
        self.since = monotonic()
        self.turns = 0
        self.sampled_tokens = 0
        self.interruptions = 0

    def enter(self, phase: Phase, what: str) -> None:
        """Note that the episode begins to wait for someone."""
        self.phase = phase
        self.what = what
        self.since = monotonic()

    def describe(self) -> str:
        """Return one line: who it waits for, for what, and since when."""
        waited = monotonic() - self.since
        return f"waits for {self.phase} ({self.what}) for {waited:.1f} s; {self.turns} turns done"
