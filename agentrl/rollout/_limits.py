"""Limits on an episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from agentrl.config import RolloutSection


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    """What one episode may use; each limit ends it with a stop reason of its own.

    Attributes:
        max_turns: Policy actions.
        max_tokens_per_turn: Sampled tokens of one action.
        max_context: Tokens of a segment, prompt and sampled together.
        turn_timeout: Seconds one environment step may take before the episode is an error.
        episode_timeout: Seconds the whole episode may take.
    """

    max_turns: int = 16
    max_tokens_per_turn: int = 64
    max_context: int = 1024
    turn_timeout: float = 60.0
    episode_timeout: float = 600.0

    @classmethod
    def of(cls, section: RolloutSection) -> Self:
        """Return the limits that a run file states."""
        return cls(
            max_turns=section.max_turns,
            max_tokens_per_turn=section.max_tokens,
            max_context=section.max_context,
            turn_timeout=section.turn_timeout,
            episode_timeout=section.episode_timeout,
        )
