"""Spans, turns and trajectories as lists of plain values. Fields are by position: their order is the format."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentrl.trajectory import _fields as f
from agentrl.trajectory._types import (
    Float32,
    Int32,
    Segment,
    Span,
    SpanKind,
    Status,
    StopReason,
    Timing,
    ToolOutcome,
    Trajectory,
    Turn,
)

_INT = np.dtype("<i4")
_FLOAT = np.dtype("<f4")

SPAN_FIELDS: f.Fields = (
    ("id", f.text),
    ("kind", f.one_of(SpanKind)),
    ("tokens", f.words),
    ("logprobs", f.optional(f.words)),
    ("versions", f.optional(f.words)),
    ("entropies", f.optional(f.words)),
)
_TOOL_FIELDS: f.Fields = (
    ("name", f.text),
    ("arguments", f.optional(f.json_mapping)),
    ("result", f.text),
    ("error", f.optional(f.text)),
    ("seconds", f.number),
)
_TIMING_FIELDS: f.Fields = (
    ("started", f.number),
    ("generate", f.number),
    ("environment", f.number),
    ("interruptions", f.count),
)
TURN_FIELDS: f.Fields = (
    ("segment", f.count),
    ("action", f.count),
    ("text", f.text),
    ("observation", f.text),
    ("rewards", f.mapping(f.number)),
    ("anchor", f.optional(f.text)),
    ("tool_calls", f.items(lambda value: f.record(value, _TOOL_FIELDS))),
    ("valid", f.flag),
    ("finish_reason", f.text),
    ("timing", lambda value: f.record(value, _TIMING_FIELDS)),
)
HEAD_FIELDS: f.Fields = (
    ("id", f.text),
    ("group_id", f.text),
    ("env", f.text),
    ("task_id", f.text),
    ("split", f.text),
    ("seed", f.integer),
    ("member", f.count),
    ("retry", f.count),
    ("reward", f.optional(f.number)),
    ("status", f.one_of(Status)),
    ("stop_reason", f.one_of(StopReason)),
    ("reward_parts", f.mapping(f.optional(f.number))),
    ("error", f.optional(f.text)),
    ("parent", f.optional(f.text)),
    ("started", f.number),
    ("finished", f.number),
    ("metadata", f.json_mapping),
)
"""Everything of a trajectory but its segments and turns."""


def span_to_wire(span: Span) -> list[Any]:
    """Return a span's fields, arrays as raw little-endian bytes."""
    return [
        span.id,
        str(span.kind),
        span.tokens.astype(_INT, copy=False).tobytes(),
        None if span.logprobs is None else span.logprobs.astype(_FLOAT, copy=False).tobytes(),
        None if span.versions is None else span.versions.astype(_INT, copy=False).tobytes(),
        None if span.entropies is None else span.entropies.astype(_FLOAT, copy=False).tobytes(),
    ]


def span_from_wire(wire: list[Any]) -> Span:
    """Return the span of checked fields; its arrays are views of the bytes, not copies."""
    identifier, kind, tokens, logprobs, versions, entropies = wire
    return Span(
        identifier,
        SpanKind(kind),
        _integers(tokens),
        None if logprobs is None else _floats(logprobs),
        None if versions is None else _integers(versions),
        None if entropies is None else _floats(entropies),
    )


def turn_to_wire(turn: Turn) -> list[Any]:
    """Return a turn's fields."""
    timing = turn.timing
    return [
        turn.segment,
        turn.action,
        turn.text,
        turn.observation,
        {name: float(value) for name, value in turn.rewards.items()},
        turn.anchor,
        [[call.name, call.arguments, call.result, call.error, float(call.seconds)] for call in turn.tool_calls],
        bool(turn.valid),
        str(turn.finish_reason),
        [timing.started, timing.generate, timing.environment, timing.interruptions],
    ]


def turn_from_wire(wire: list[Any]) -> Turn:
    """Return the turn of checked fields."""
    segment, action, text, observation, rewards, anchor, calls, valid, finish_reason, timing = wire
    outcomes = tuple(ToolOutcome(*call) for call in calls)
    return Turn(segment, action, text, observation, rewards, anchor, outcomes, valid, finish_reason, Timing(*timing))


def head_to_wire(trajectory: Trajectory) -> list[Any]:
    """Return the fields of a trajectory without its segments and turns."""
    parts = trajectory.reward_parts
    return [
        trajectory.id,
        trajectory.group_id,
        trajectory.env,
        trajectory.task_id,
        trajectory.split,
        trajectory.seed,
        trajectory.member,
        trajectory.retry,
        None if trajectory.reward is None else float(trajectory.reward),
        str(trajectory.status),
        str(trajectory.stop_reason),
        {name: None if value is None else float(value) for name, value in parts.items()},
        trajectory.error,
        trajectory.parent,
        trajectory.started,
        trajectory.finished,
        trajectory.metadata,
    ]


def trajectory_from_wire(head: list[Any], segments: tuple[Segment, ...], turns: tuple[Turn, ...]) -> Trajectory:
    """Return the trajectory of checked head fields with its segments and turns."""
    fields = dict(zip((name for name, _ in HEAD_FIELDS), head, strict=True))
    fields["status"] = Status(fields["status"])
    fields["stop_reason"] = StopReason(fields["stop_reason"])
    return Trajectory(segments=segments, turns=turns, **fields)


def _integers(data: bytes) -> Int32:
    return np.frombuffer(data, dtype=_INT)


def _floats(data: bytes) -> Float32:
    return np.frombuffer(data, dtype=_FLOAT)
