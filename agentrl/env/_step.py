"""What an environment's method may give back beside plain text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to one action, where text alone does not say it all.

    Attributes:
        observation: What the agent reads next.
        reward: Reward earned by this very action, or None; logged under the name "step".
        done: Whether the episode is over.
        valid: False where the action was malformed or refused.
    """

    observation: str = ""
    reward: float | None = None
    done: bool = False
    valid: bool = True
