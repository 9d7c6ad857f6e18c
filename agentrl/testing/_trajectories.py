"""Seeded random trajectories for tests, and an exact comparison of what the codec and the store give back."""

from __future__ import annotations

import dataclasses
from random import Random

import numpy as np

from agentrl.store import GroupRecord, TurnRecord
from agentrl.trajectory import Segment, Span, SpanKind, Status, StopReason, Timing, ToolOutcome, Trajectory, Turn

_TEXTS = ("go forward", "you see a red ball", "", "naïve 日本語 🎲", "\ud800 half a pair", "a\x00b")


def random_trajectory(
    rng: Random,
    *,
    group_id: str = "group-0",
    member: int = 0,
    retry: int = 0,
    turns: int = 3,
    tokens_per_span: int = 8,
    version: int = 0,
    error: bool = False,
) -> Trajectory:
    """Return a valid trajectory of one segment: a prompt, then an action and an observation per turn.

    Args:
        rng: Source of everything random: the same state gives the same trajectory.
        group_id, member, retry: Which attempt it is; its id and those of its spans follow from them.
        turns: Policy actions.
        tokens_per_span: Tokens of each span.
        version: Newest policy version among the sampled tokens.
        error: Whether the infrastructure failed.
    """
    identifier = f"{group_id}/{member}/{retry}"
    spans = [Span(f"{identifier}/prompt", SpanKind.PROMPT, _tokens(rng, tokens_per_span))]
    played = []
    for index in range(turns):
        spans.append(_action(rng, f"{identifier}/{index}/a", tokens_per_span, version))
        played.append(_turn(rng, action=len(spans) - 1, started=1_000.0 + index))
        if index < turns - 1:
            spans.append(Span(f"{identifier}/{index}/o", SpanKind.OBSERVATION, _tokens(rng, tokens_per_span)))
    status = Status.ERROR if error else rng.choice([Status.OK, Status.TRUNCATED])
    return Trajectory(
        id=identifier,
        group_id=group_id,
        env="doubles",
        task_id=f"task-{rng.randrange(10_000)}",
        split="train",
        seed=rng.randrange(2**63),
        member=member,
        segments=(Segment(tuple(spans)),),
        turns=tuple(played),
        reward=None if error else round(rng.uniform(-1, 1), 3),
        status=status,
        stop_reason=StopReason.ENV_ERROR if error else rng.choice([StopReason.COMPLETED, StopReason.MAX_TURNS]),
        reward_parts={"success": None if error else float(rng.randrange(2)), "style": None},
        retry=retry,
        error="the environment's server went away" if error else None,
        started=1_000.0,
        finished=1_000.0 + turns,
        metadata={"category": rng.choice(_TEXTS), "difficulty": rng.randrange(5), "path": [1, {"deep": None}]},
    )


def random_group(rng: Random, index: int = 0, size: int = 2, version: int = 0) -> GroupRecord:
    """Return the admission record of a group named `group-<index>`."""
    return GroupRecord(f"group-{index}", index, "doubles", "train", rng.randrange(10_000), size, version)


def turn_records(trajectory: Trajectory) -> list[TurnRecord]:
    """Return the turn log that led to a trajectory of one segment: each turn with the spans up to the next action."""
    spans = trajectory.segments[0].spans
    starts = [0, *(turn.action for turn in trajectory.turns[1:])]
    ends = [*starts[1:], len(spans)]
    return [
        TurnRecord(
            trajectory.id, trajectory.group_id, trajectory.member, trajectory.retry, index, spans[start:end], turn
        )
        for index, (turn, start, end) in enumerate(zip(trajectory.turns, starts, ends, strict=True))
    ]


def assert_same_spans(one: tuple[Span, ...], other: tuple[Span, ...]) -> None:
    """Fail unless two paths hold the same spans, every array bit for bit and of the same type."""
    assert [(span.id, span.kind) for span in one] == [(span.id, span.kind) for span in other]
    for left, right in zip(one, other, strict=True):
        for field in ("tokens", "logprobs", "versions", "entropies"):
            expected, found = getattr(left, field), getattr(right, field)
            assert (expected is None) == (found is None), f"span {left.id}: {field}"
            if expected is not None:
                assert expected.dtype == found.dtype and expected.tobytes() == found.tobytes(), f"{left.id}: {field}"


def assert_same_trajectory(one: Trajectory, other: Trajectory) -> None:
    """Fail unless two trajectories are equal in every field, their spans included."""
    assert len(one.segments) == len(other.segments)
    for left, right in zip(one.segments, other.segments, strict=True):
        assert_same_spans(left.spans, right.spans)
    for field in dataclasses.fields(Trajectory):
        if field.name != "segments":
            assert getattr(one, field.name) == getattr(other, field.name), field.name


def _tokens(rng: Random, count: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array([rng.randrange(50_000) for _ in range(count)], dtype=np.int32)


def _action(rng: Random, identifier: str, count: int, version: int) -> Span:
    cut = rng.randrange(count + 1)
    return Span(
        id=identifier,
        kind=SpanKind.ACTION,
        tokens=_tokens(rng, count),
        logprobs=np.array([-rng.expovariate(1.0) for _ in range(count)], dtype=np.float32),
        versions=np.array([max(0, version - 1)] * cut + [version] * (count - cut), dtype=np.int32),
        entropies=np.array([rng.random() for _ in range(count)], dtype=np.float32) if rng.random() < 0.8 else None,
    )


def _turn(rng: Random, action: int, started: float) -> Turn:
    calls = (
        ToolOutcome("search", {"query": rng.choice(_TEXTS), "limit": 3}, rng.choice(_TEXTS), seconds=0.01),
        ToolOutcome("serach", None, "no such tool", error="unknown_tool"),
    )
    return Turn(
        segment=0,
        action=action,
        text=rng.choice(_TEXTS),
        observation=rng.choice(_TEXTS),
        rewards={"progress": rng.random()} if rng.random() < 0.5 else {},
        anchor=f"{rng.getrandbits(64):016x}" if rng.random() < 0.7 else None,
        tool_calls=calls[: rng.randrange(3)],
        valid=rng.random() < 0.9,
        finish_reason=rng.choice(["stop", "length"]),
        timing=Timing(started, rng.random(), rng.random(), rng.randrange(3)),
    )
