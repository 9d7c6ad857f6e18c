"""What an evaluation keeps of one attempt, and the circumstances that make it repeatable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agentrl.trajectory import Status, StopReason, Trajectory


class Outcome(BaseModel):
    """One attempt at one task.

    Attributes:
        task_id: The task.
        attempt: Which attempt at it, from 0.
        reward: Total reward; None where the attempt is an error or was not scored.
        success: Whether it solved the task; None where the environment does not say.
        parts: Reward parts by name, those of turns summed; None = unscored.
        status, stop_reason: How it ended.
        error: What failed, for an error.
        turns, invalid_turns: Actions, and those the environment could not use.
        tokens: Tokens the policy sampled.
        tool_calls, tool_errors: Calls of tools, and those that failed.
        seconds: Wall time of the episode.
        category: `category` or else `level` of the environment's metadata.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_id: str
    attempt: int
    reward: float | None
    success: bool | None
    parts: dict[str, float | None] = Field(default_factory=dict)
    status: Status
    stop_reason: StopReason
    error: str | None = None
    turns: int = 0
    invalid_turns: int = 0
    tokens: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    seconds: float = 0.0
    category: str | None = None

    @property
    def scored(self) -> bool:
        """Whether it counts: an infrastructure error says nothing about the policy and is never a zero."""
        return self.status is not Status.ERROR and self.reward is not None


class EvalSetting(BaseModel):
    """What was evaluated and how; with it, an evaluation can be repeated.

    Attributes:
        env: Environment as given to `load`, with its arguments.
        policy: What acted: a folder, "oracle" or "random".
        policy_notes: How it acted, in words: temperature, where random actions come from.
        model_hash: First 12 hex digits of the SHA-256 of the weights, or None without weights.
        split, limit, attempts, seed: Which tasks, how many, how often, and the seed of all sampling.
        limits: Limits of an episode.
        command: Command line, or None where it was called from Python.
        versions: Packages that matter and their versions.
        started: Seconds since the epoch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str
    env_args: dict[str, Any] = Field(default_factory=dict)
    policy: str
    policy_notes: str = ""
    model_hash: str | None = None
    split: str
    limit: int
    attempts: int
    seed: int
    limits: dict[str, float] = Field(default_factory=dict)
    command: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    started: float = 0.0


def outcome_of(trajectory: Trajectory) -> Outcome:
    """Return what an evaluation keeps of a trajectory; its `member` is the attempt."""
    calls = [call for turn in trajectory.turns for call in turn.tool_calls]
    parts: dict[str, float | None] = dict(trajectory.reward_parts)
    for turn in trajectory.turns:
        for name, value in turn.rewards.items():
            parts[name] = (parts.get(name) or 0.0) + value
    is_error = trajectory.status is Status.ERROR
    return Outcome(
        task_id=trajectory.task_id,
        attempt=trajectory.member,
        reward=trajectory.reward,
        success=None if is_error else success_of(trajectory.metadata, trajectory.reward_parts),
        parts=parts,
        status=trajectory.status,
        stop_reason=trajectory.stop_reason,
        error=trajectory.error,
        turns=len(trajectory.turns),
        invalid_turns=sum(not turn.valid for turn in trajectory.turns),
        tokens=trajectory.sampled_tokens(),
        tool_calls=len(calls),
        tool_errors=sum(call.error is not None for call in calls),
        seconds=max(0.0, trajectory.finished - trajectory.started),
        category=category_of(trajectory.metadata),
    )


def success_of(metadata: Mapping[str, Any], parts: Mapping[str, float | None]) -> bool | None:
    """Return whether an episode succeeded.

    Its metadata's `success` says so; where that is missing, a reward part named `success` does when it is positive.
    """
    if isinstance(metadata.get("success"), bool | int | float):
        return bool(metadata["success"])
    part = parts.get("success")
    return None if part is None else part > 0


def category_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the group of tasks an episode belongs to in the report."""
    found = metadata.get("category", metadata.get("level"))
    return None if found is None else str(found)
