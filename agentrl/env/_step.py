"""What an environment's method may give back beside plain text."""

from __future__ import annotations

from dataclasses import dataclass

from agentrl.trajectory import StopReason


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to one action, where text alone does not say it all.

    Attributes:
        observation: What the agent reads next.
        reward: Reward earned by this very action, or None; logged under the name "step".
        done: Whether the episode is over.
        valid: False where the action was malformed or refused.
        stop_reason: Where done: COMPLETED, or the limit of the environment's own that ended it, e.g. MAX_TURNS.
    """

    observation: str = ""
    reward: float | None = None
    done: bool = False
    valid: bool = True
    stop_reason: StopReason = StopReason.COMPLETED
