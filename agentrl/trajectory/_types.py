"""The token-exact record of an episode.

A trajectory is a path of spans. A span is a run of tokens of one origin; an action span keeps, for every sampled
token, its behaviour log-prob and the policy version that sampled it. Spans are immutable and shared by reference: a
branch holds the very span objects of its parent's prefix. Array legend: K = tokens of one span.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

_DTYPES = {
    "tokens": np.dtype(np.int32),
    "logprobs": np.dtype(np.float32),
    "versions": np.dtype(np.int32),
    "entropies": np.dtype(np.float32),
}


class SpanKind(enum.StrEnum):
    """Where the tokens of a span come from."""

    PROMPT = "prompt"
    """The first messages of a segment: system text, tools, the task."""
    OBSERVATION = "observation"
    """What the environment answered, with the chat template's tokens around it."""
    ACTION = "action"
    """Sampled by the policy."""


class Status(enum.StrEnum):
    """How far a trajectory can be trusted."""

    OK = "ok"
    """The episode ended by itself."""
    TRUNCATED = "truncated"
    """A limit ended it; what happened up to there is valid."""
    ERROR = "error"
    """The infrastructure failed; reward is None and it is never trained on."""


class StopReason(enum.StrEnum):
    """Why an episode ended. Closed: a new reason is a change of the format."""

    COMPLETED = "completed"
    MAX_TURNS = "max_turns"
    MAX_TOKENS = "max_tokens"
    CONTEXT_OVERFLOW = "context_overflow"
    PARSE_ERROR = "parse_error"
    ENV_ERROR = "env_error"
    ENGINE_ERROR = "engine_error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A run of tokens of one origin. Two spans are the same span if their ids are equal.

    Attributes:
        id: Unique in a store.
        kind: Origin of the tokens.
        tokens: Token ids [K].
        logprobs: Behaviour log-probs [K] under the distribution actually sampled from; action spans only.
        versions: Policy version that sampled each token [K]; action spans only.
        entropies: Entropy in nats of that distribution [K], where the engine gives it; action spans only.
    """

    id: str
    kind: SpanKind
    tokens: Int32
    logprobs: Float32 | None = None
    versions: Int32 | None = None
    entropies: Float32 | None = None

    def __post_init__(self) -> None:
        is_action = self.kind is SpanKind.ACTION
        if self.tokens.ndim != 1:
            raise ValueError(f"span {self.id}: tokens have shape {self.tokens.shape}, expected one dimension")
        for name in ("logprobs", "versions", "entropies"):
            array = getattr(self, name)
            if array is None:
                if is_action and name != "entropies":
                    raise ValueError(f"action span {self.id} lacks {name}")
                continue
            if not is_action:
                raise ValueError(f"{self.kind} span {self.id} carries {name}, which only sampled tokens have")
            if array.shape != self.tokens.shape:
                raise ValueError(f"span {self.id}: {name} has shape {array.shape}, tokens {self.tokens.shape}")
        for name in ("tokens", "logprobs", "versions", "entropies"):
            array = getattr(self, name)
            if array is not None:
                if array.dtype != _DTYPES[name]:
                    raise ValueError(f"span {self.id}: {name} are {array.dtype}, expected {_DTYPES[name]}")
                array.flags.writeable = False

    def __len__(self) -> int:
        return int(self.tokens.shape[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Span) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


@dataclass(frozen=True, slots=True)
class Segment:
    """One contiguous context window: the concatenation of its spans is what the policy saw and wrote."""

    spans: tuple[Span, ...]

    def tokens(self) -> Int32:
        """Return all tokens of the segment, concatenated [L]."""
        if not self.spans:
            return np.zeros(0, dtype=np.int32)
        return np.concatenate([span.tokens for span in self.spans])


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """A tool call of a turn and what came of it.

    Attributes:
        name: Tool that was called.
        arguments: Arguments as parsed, or None where they could not be.
        result: Text that was shown to the agent.
        error: None, or the kind of failure: "malformed", "unknown_tool", "invalid_arguments", "tool_error".
        seconds: Time the tool took.
    """

    name: str
    arguments: dict[str, Any] | None
    result: str
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Timing:
    """When a turn happened and where its time went, in seconds.

    Attributes:
        started: Seconds since the epoch at which the turn was requested.
        generate: From request to last sampled token, queueing and interruptions included.
        environment: From last token to the observation.
        interruptions: How often new weights interrupted the generation.
    """

    started: float = 0.0
    generate: float = 0.0
    environment: float = 0.0
    interruptions: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One policy action and the observation it brought. Turn ends are data, never inferred from rewards.

    Attributes:
        segment: Index of the segment that holds the action.
        action: Index, within that segment, of the action span.
        text: The action decoded for people; never encoded back.
        observation: What the environment answered, as text; "" at the end of an episode.
        rewards: Reward parts earned by this very turn, by name.
        anchor: Hash of the environment's true state *before* the action, or None where it has none.
        tool_calls: Calls made in the turn and their outcomes.
        valid: False where the action could not be parsed or was refused by the environment.
        finish_reason: Why generation stopped: "stop", "length" or "aborted".
        timing: Where the time went.
    """

    segment: int
    action: int
    text: str
    observation: str = ""
    rewards: dict[str, float] = field(default_factory=dict)
    anchor: str | None = None
    tool_calls: tuple[ToolOutcome, ...] = ()
    valid: bool = True
    finish_reason: str = "stop"
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The token-exact record of one episode.

    Attributes:
        id: Unique and derived from (run, group, attempt, retry): a repeated delivery has the same id.
        group_id: Group of trajectories of one task that are compared.
        env: Name of the environment, as in the run file.
        task_id: The task, with `split` and `seed`.
        member: Index within the group.
        retry: How many times the episode was started again after an infrastructure failure.
        segments: Context windows, in order; each action span belongs to exactly one turn.
        turns: In order.
        reward: Total reward; None where the episode is an error or was not scored.
        reward_parts: Final reward parts by name (`None` = unscored), beside those of the turns.
        status: How far it can be trusted.
        stop_reason: Why it ended.
        error: For `status=error`, what failed, in words.
        parent: Trajectory it branched from, or None.
        started, finished: Seconds since the epoch.
        metadata: Small JSON values: category, difficulty and the like.
    """

    id: str
    group_id: str
    env: str
    task_id: str
    split: str
    seed: int
    member: int
    segments: tuple[Segment, ...]
    turns: tuple[Turn, ...]
    reward: float | None
    status: Status
    stop_reason: StopReason
    reward_parts: dict[str, float | None] = field(default_factory=dict)
    retry: int = 0
    error: str | None = None
    parent: str | None = None
    started: float = 0.0
    finished: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status is Status.ERROR and self.reward is not None:
            raise ValueError(f"trajectory {self.id} is an error and has a reward")
        seen = set()
        for index, turn in enumerate(self.turns):
            place = (turn.segment, turn.action)
            if not 0 <= turn.segment < len(self.segments):
                raise ValueError(f"trajectory {self.id}: turn {index} points at segment {turn.segment}, not there")
            if not 0 <= turn.action < len(self.segments[turn.segment].spans):
                raise ValueError(f"trajectory {self.id}: turn {index} points at span {turn.action}, not in its segment")
            if place in seen:
                raise ValueError(f"trajectory {self.id}: turn {index} shares its action span with another turn")
            seen.add(place)
            span = self.segments[turn.segment].spans[turn.action]
            if span.kind is not SpanKind.ACTION:
                raise ValueError(f"trajectory {self.id}: turn {index} points at a {span.kind} span")

    def action_span(self, turn: Turn) -> Span:
        """Return the action span of one of this trajectory's turns."""
        return self.segments[turn.segment].spans[turn.action]

    def sampled_tokens(self) -> int:
        """Return the number of tokens the policy sampled."""
        return sum(len(self.action_span(turn)) for turn in self.turns)

    def total_tokens(self) -> int:
        """Return the number of tokens over all segments."""
        return sum(len(span) for segment in self.segments for span in segment.spans)

    def oldest_version(self) -> int | None:
        """Return the smallest policy version among the sampled tokens, or None without any."""
        versions = [self.action_span(turn).versions for turn in self.turns]
        found = [int(array.min()) for array in versions if array is not None and array.size]
        return min(found) if found else None
