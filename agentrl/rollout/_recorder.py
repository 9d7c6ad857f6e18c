"""Builds a trajectory span by span while its episode runs. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from agentrl.env._session import StepResult
from agentrl.policy._base import Generation
from agentrl.rollout._identity import EpisodeIdentity
from agentrl.store._base import TurnRecord
from agentrl.tasks import Task
from agentrl.trajectory import Segment, Span, SpanKind, Status, StopReason, Timing, Trajectory, Turn
from agentrl.trajectory._types import Float32, Int32


class EpisodeRecorder:
    """The growing record of one episode.

    Args:
        identity: Which episode it is; span ids follow from it.
        env: Name of the environment.
        task: The task.
        started: Seconds since the epoch.

    Attributes:
        identity: As given.
        turns: So far.
        disturbed_reward: Rewards of a demonstration's disturbed actions, which are no turns.
    """

    def __init__(self, identity: EpisodeIdentity, env: str, task: Task, started: float) -> None:
        self.identity = identity
        self.turns: list[Turn] = []
        self.disturbed_reward = 0.0
        self._env = env
        self._task = task
        self._started = started
        self._segments: list[list[Span]] = []
        self._fresh: list[Span] = []
        self._spans = 0
        self._length = 0

    @property
    def context_length(self) -> int:
        """Tokens of the present segment."""
        return self._length

    def context(self) -> Int32:
        """Return the tokens of the present segment [L]."""
        return Segment(tuple(self._segments[-1])).tokens()

    def open_segment(self, tokens: Int32) -> None:
        """Begin a context window with a prompt."""
        self._segments.append([])
        self._length = 0
        self._append(SpanKind.PROMPT, tokens)

    def observe(self, tokens: Int32) -> None:
        """Append tokens that the policy did not sample."""
        self._append(SpanKind.OBSERVATION, tokens)

    def act(self, generation: Generation, *, text: str, anchor: str | None, timing: Timing) -> None:
        """Append an action and open its turn; the turn stays without an observation should nothing more come."""
        self._append(SpanKind.ACTION, generation.tokens, generation.logprobs, generation.versions, generation.entropies)
        self.turns.append(
            Turn(
                segment=len(self._segments) - 1,
                action=len(self._segments[-1]) - 1,
                text=text,
                anchor=anchor,
                finish_reason=str(generation.finish_reason),
                timing=timing,
            )
        )

    def answer(self, result: StepResult, environment_seconds: float) -> None:
        """Complete the open turn with what the environment answered."""
        turn = self.turns[-1]
        self.turns[-1] = dataclasses.replace(
            turn,
            observation="\n".join(message.content for message in result.messages),
            rewards=dict(result.rewards),
            tool_calls=result.tool_calls,
            valid=result.valid,
            timing=dataclasses.replace(turn.timing, environment=environment_seconds),
        )

    def turn_record(self) -> TurnRecord:
        """Return the line of the turn log for the last turn, with the spans added since the line before.

        An observation belongs to the turn that brought it; a prompt span after the first line opens a segment.
        """
        spans, self._fresh = tuple(self._fresh), []
        return TurnRecord(
            trajectory_id=self.identity.trajectory_id,
            group_id=self.identity.group_id,
            member=self.identity.member,
            retry=self.identity.retry,
            index=len(self.turns) - 1,
            spans=spans,
            turn=self.turns[-1],
        )

    def trajectory(
        self,
        *,
        status: Status,
        stop_reason: StopReason,
        seconds: float,
        reward: float | None,
        reward_parts: Mapping[str, float | None],
        metadata: Mapping[str, Any],
        error: str | None,
    ) -> Trajectory:
        """Return the finished record."""
        return Trajectory(
            id=self.identity.trajectory_id,
            group_id=self.identity.group_id,
            env=self._env,
            task_id=self._task.id,
            split=self._task.split,
            seed=self._task.seed,
            member=self.identity.member,
            segments=tuple(Segment(tuple(spans)) for spans in self._segments),
            turns=tuple(self.turns),
            reward=reward,
            status=status,
            stop_reason=stop_reason,
            reward_parts=dict(reward_parts),
            retry=self.identity.retry,
            error=error,
            started=self._started,
            finished=self._started + seconds,
            metadata=dict(metadata),
        )

    def _append(
        self,
        kind: SpanKind,
        tokens: Int32,
        logprobs: Float32 | None = None,
        versions: Int32 | None = None,
        entropies: Float32 | None = None,
    ) -> None:
        # A span freezes its arrays: what others handed in is copied, so that they may go on writing to theirs.
        span = Span(
            self.identity.span_id(self._spans),
            kind,
            np.array(tokens, dtype=np.int32),
            None if logprobs is None else np.array(logprobs, dtype=np.float32),
            None if versions is None else np.array(versions, dtype=np.int32),
            None if entropies is None else np.array(entropies, dtype=np.float32),
        )
        self._segments[-1].append(span)
        self._fresh.append(span)
        self._spans += 1
        self._length += len(span)
