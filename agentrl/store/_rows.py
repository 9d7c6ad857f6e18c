"""Between records and the blobs of the store's rows. A blob names no id that its row has in a column."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence

from agentrl.errors import StoreError
from agentrl.store._schema import TURN_BITS
from agentrl.trajectory import Segment, Span, Trajectory, _wire, decode_turn
from agentrl.trajectory import _fields as f
from agentrl.trajectory._codec import blaming
from agentrl.trajectory._frame import seal, unseal

_HEAD_ROW: f.Fields = (
    ("head", lambda value: f.record(value, _wire.HEAD_FIELDS)),
    ("segments", f.items(f.items(f.count))),
    ("turns", f.count),
)
_CHUNK = 500


def first_turn_key(attempt: int) -> int:
    """Return the key of an attempt's turn 0; turn n is n further."""
    return attempt << TURN_BITS


def span_blob(span: Span) -> bytes:
    """Return what a span row keeps beside its id."""
    name = f"span {span.id!r}"
    with blaming(name, "encode"):
        wire = _wire.span_to_wire(span)
        f.record(wire, _wire.SPAN_FIELDS)
    return seal(b"s", wire[1:], name)


def head_blob(trajectory: Trajectory, keys: dict[str, int]) -> bytes:
    """Return what the row of a finished attempt keeps: its fields, its segments as span keys, its number of turns."""
    name = f"trajectory {trajectory.id!r}"
    with blaming(name, "encode"):
        segments = [[keys[span.id] for span in segment.spans] for segment in trajectory.segments]
        wire = [_wire.head_to_wire(trajectory), segments, len(trajectory.turns)]
        f.record(wire, _HEAD_ROW)
    return seal(b"H", wire, name)


def pack_keys(keys: Sequence[int]) -> bytes:
    """Return row keys as little-endian 64-bit integers."""
    return struct.pack(f"<{len(keys)}q", *keys)


def unpack_keys(data: bytes) -> tuple[int, ...]:
    """Return what `pack_keys` packed."""
    return struct.unpack(f"<{len(data) // 8}q", data)


class RowReader:
    """Assembles records from rows within one read transaction; a span met twice is the same object.

    Args:
        connection: A connection within a transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._spans: dict[int, Span] = {}

    def spans(self, keys: Sequence[int]) -> tuple[Span, ...]:
        """Return spans by row key, in the order asked for."""
        self._load(sorted({key for key in keys if key not in self._spans}))
        try:
            return tuple([self._spans[key] for key in keys])
        except KeyError as error:
            raise StoreError(f"span row {error} is missing; the file is damaged, restore it from a copy") from error

    def trajectory(self, attempt: int, head: bytes) -> Trajectory:
        """Return the finished trajectory of an attempt row."""
        name = f"the trajectory in row {attempt}"
        wire = unseal(b"H", head, name)
        with blaming(name, "decode"):
            f.record(wire, _HEAD_ROW)
            fields, segment_keys, count = wire
            self.spans([key for keys in segment_keys for key in keys])
            segments = tuple([Segment(self.spans(keys)) for keys in segment_keys])
            start = first_turn_key(attempt)
            rows = self._connection.execute(
                "SELECT data FROM turns WHERE key >= ? AND key < ? ORDER BY key", (start, start + count)
            ).fetchall()
            if len(rows) != count:
                raise StoreError(
                    f"{name} has {len(rows)} of {count} turns; the file is damaged, restore it from a copy"
                )
            return _wire.trajectory_from_wire(fields, segments, tuple([decode_turn(data) for (data,) in rows]))

    def _load(self, missing: Sequence[int]) -> None:
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            query = f"SELECT key, id, data FROM spans WHERE key IN ({marks(chunk)})"
            for key, identifier, data in self._connection.execute(query, chunk):
                name = f"the span in row {key}"
                content = unseal(b"s", data, name)
                with blaming(name, "decode"):
                    wire = [identifier, *content]
                    f.record(wire, _wire.SPAN_FIELDS)
                    self._spans[key] = _wire.span_from_wire(wire)


def marks(values: Iterable[object]) -> str:
    """Return one SQL parameter mark per value."""
    return ",".join("?" for _ in values)
