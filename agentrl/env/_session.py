"""The session contract: what the agent loop needs of an environment, in process or behind a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentrl.messages import Message
from agentrl.tasks import Task, TaskSource
from agentrl.trajectory import StopReason, ToolOutcome


@dataclass(frozen=True, slots=True)
class Opening:
    """What `reset` gives.

    Attributes:
        messages: System and user messages the agent reads first.
        tools: OpenAI function schemas of the tools it may call; empty for a text-action environment.
        anchor: Hash of the true state before the first action, or None.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one assistant message brought.

    Attributes:
        messages: Tool or user messages to show next; may be empty when done.
        done: Whether the episode is over.
        rewards: Reward parts earned by this turn, by name.
        tool_calls: Calls made and their outcomes.
        valid: False where the action was malformed, unknown or refused.
        anchor: Hash of the true state after the action, or None.
        stop_reason: Where done: COMPLETED, or a limit of the environment's own.
    """

    messages: tuple[Message, ...]
    done: bool = False
    rewards: Mapping[str, float] = field(default_factory=dict)
    tool_calls: tuple[ToolOutcome, ...] = ()
    valid: bool = True
    anchor: str | None = None
    stop_reason: StopReason = StopReason.COMPLETED


@dataclass(frozen=True, slots=True)
class Score:
    """The final scoring of an episode.

    Attributes:
        parts: Value of each `@reward` by name; None = unscored.
        reward: Weighted sum of the scored parts, or None where there are parts and every one is unscored.
            An environment without `@reward` scores 0.0 here: its turn rewards are all it has.
        metadata: Small JSON values to keep with the trajectory (`success`, category, …).
    """

    parts: Mapping[str, float | None] = field(default_factory=dict)
    reward: float | None = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)


class EnvSession(Protocol):
    """One episode. Calls come one at a time: reset, step…, finish, close. Failures raise EnvError."""

    async def reset(self, task: Task) -> Opening:
        """Begin the episode."""
        ...

    async def step(self, message: Message) -> StepResult:
        """Carry out one assistant message."""
        ...

    async def finish(self) -> Score:
        """Score the episode, however it ended."""
        ...

    async def demonstrate(self) -> Message:
        """Return the expert's next assistant message for the present state, without carrying it out.

        Raises:
            EnvError: The environment has no expert, or the expert is lost.
        """
        ...

    async def close(self) -> None:
        """Free everything; always called, also after errors, and idempotent."""
        ...


class EnvFactory(Protocol):
    """An environment opened by `agentrl.load`: makes sessions and knows its tasks.

    Attributes:
        name: Name as given to `load`, e.g. "babyai".
        replayable: The state is a function of task, seed and actions.
        has_expert: Sessions can `demonstrate`.
        has_anchors: Sessions name their states, equal for equal states.
        max_turns: The environment's own limit, or None.
    """

    name: str
    replayable: bool
    has_expert: bool
    has_anchors: bool
    max_turns: int | None

    @property
    def tasks(self) -> TaskSource:
        """The environment's tasks."""
        ...

    def session(self) -> EnvSession:
        """Return a fresh single-use session."""
        ...
