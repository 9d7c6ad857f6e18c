"""The binary form of trajectories, spans and turns: framed msgpack with raw little-endian buffers.

A trajectory is `[head, spans, segments, turns]`: each span is written once, segments refer to spans by index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from agentrl.errors import ProtocolError
from agentrl.trajectory import _fields as f
from agentrl.trajectory import _wire
from agentrl.trajectory._frame import seal, unseal
from agentrl.trajectory._types import Segment, Span, Trajectory, Turn

_TRAJECTORY_FIELDS: f.Fields = (
    ("head", lambda value: f.record(value, _wire.HEAD_FIELDS)),
    ("spans", f.items(lambda value: f.record(value, _wire.SPAN_FIELDS))),
    ("segments", f.items(f.items(f.count))),
    ("turns", f.items(lambda value: f.record(value, _wire.TURN_FIELDS))),
)


def encode_trajectory(trajectory: Trajectory) -> bytes:
    """Return a trajectory as bytes.

    Raises:
        ProtocolError: A field holds what the format cannot (it is named), or two spans share an id and differ.
    """
    name = f"trajectory {trajectory.id!r}"
    with blaming(name, "encode"):
        spans = distinct_spans(span for segment in trajectory.segments for span in segment.spans)
        places = {identifier: index for index, identifier in enumerate(spans)}
        wire = [
            _wire.head_to_wire(trajectory),
            [_wire.span_to_wire(span) for span in spans.values()],
            [[places[span.id] for span in segment.spans] for segment in trajectory.segments],
            [_wire.turn_to_wire(turn) for turn in trajectory.turns],
        ]
        f.record(wire, _TRAJECTORY_FIELDS)
    return seal(b"T", wire, name)


def decode_trajectory(data: bytes) -> Trajectory:
    """Return the trajectory that `encode_trajectory` wrote; arrays are read-only views, not copies.

    Raises:
        ProtocolError: The bytes are truncated, damaged, foreign, of a newer version, or break the format.
    """
    wire = unseal(b"T", data, "a trajectory")
    with blaming("a trajectory", "decode"):
        f.record(wire, _TRAJECTORY_FIELDS)
        head, span_wires, segment_wires, turn_wires = wire
        spans = [_wire.span_from_wire(span) for span in span_wires]
        if len({span.id for span in spans}) != len(spans):
            raise ValueError("two of its spans have the same id")
        segments = []
        for number, places in enumerate(segment_wires):
            if places and max(places) >= len(spans):
                raise ValueError(f"segment {number} refers to span {max(places)}, there are {len(spans)}")
            segments.append(Segment(tuple([spans[place] for place in places])))
        turns = tuple([_wire.turn_from_wire(turn) for turn in turn_wires])
        return _wire.trajectory_from_wire(head, tuple(segments), turns)


def encode_span(span: Span) -> bytes:
    """Return a span as bytes. Raises ProtocolError where its id is no string."""
    return _encode(b"S", span, f"span {span.id!r}", _wire.span_to_wire, _wire.SPAN_FIELDS)


def decode_span(data: bytes) -> Span:
    """Return the span that `encode_span` wrote. Raises ProtocolError."""
    wire = unseal(b"S", data, "a span")
    with blaming("a span", "decode"):
        f.record(wire, _wire.SPAN_FIELDS)
        return _wire.span_from_wire(wire)


def encode_turn(turn: Turn) -> bytes:
    """Return a turn as bytes, without its spans. Raises ProtocolError where a field holds what the format cannot."""
    return _encode(b"U", turn, "a turn", _wire.turn_to_wire, _wire.TURN_FIELDS)


def decode_turn(data: bytes) -> Turn:
    """Return the turn that `encode_turn` wrote. Raises ProtocolError."""
    wire = unseal(b"U", data, "a turn")
    with blaming("a turn", "decode"):
        f.record(wire, _wire.TURN_FIELDS)
        return _wire.turn_from_wire(wire)


def distinct_spans(spans: Iterable[Span]) -> dict[str, Span]:
    """Return spans by id in order of first use.

    Raises:
        ValueError: Two spans share an id and hold different tokens.
    """
    distinct: dict[str, Span] = {}
    for span in spans:
        known = distinct.setdefault(span.id, span)
        if known is not span and not same_content(known, span):
            raise ValueError(f"two different spans have the id {span.id!r}; an id names one span for ever")
    return distinct


def same_content(one: Span, other: Span) -> bool:
    """Tell whether two spans hold the same tokens, log-probs, versions and entropies, bit for bit."""
    if one.kind is not other.kind:
        return False
    for name in ("tokens", "logprobs", "versions", "entropies"):
        left, right = getattr(one, name), getattr(other, name)
        if (left is None) != (right is None):
            return False
        if left is not None and not np.array_equal(left.view(np.int32), right.view(np.int32)):
            return False
    return True


@contextmanager
def blaming(name: str, verb: str) -> Iterator[None]:
    """Turn a mismatch or a broken invariant into a ProtocolError that names the record and the place."""
    try:
        yield
    except f.MismatchError as mismatch:
        remedy = (
            "convert the value where the environment or the policy makes it"
            if verb == "encode"
            else "it was not written by this version of AgentRL, have it sent again"
        )
        raise ProtocolError(f"cannot {verb} {name}: {mismatch}; {remedy}") from mismatch
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"cannot {verb} {name}: {error}") from error


def _encode(kind: bytes, value: Any, name: str, to_wire: Callable[[Any], list[Any]], fields: f.Fields) -> bytes:
    with blaming(name, "encode"):
        wire = to_wire(value)
        f.record(wire, fields)
    return seal(kind, wire, name)
