"""The binary form of a line of the turn log, for the wire between processes."""

from __future__ import annotations

from agentrl.store._base import TurnRecord
from agentrl.trajectory import _fields as f
from agentrl.trajectory import _wire
from agentrl.trajectory._codec import blaming
from agentrl.trajectory._frame import seal, unseal

_FIELDS: f.Fields = (
    ("trajectory_id", f.text),
    ("group_id", f.text),
    ("member", f.count),
    ("retry", f.count),
    ("index", f.count),
    ("spans", f.items(lambda value: f.record(value, _wire.SPAN_FIELDS))),
    ("turn", lambda value: f.record(value, _wire.TURN_FIELDS)),
)


def encode_turn_record(record: TurnRecord) -> bytes:
    """Return a line of the turn log as bytes.

    Raises:
        ProtocolError: A field holds what the format cannot; it is named.
    """
    name = f"turn {record.index} of {record.trajectory_id!r}"
    with blaming(name, "encode"):
        wire = [
            record.trajectory_id,
            record.group_id,
            record.member,
            record.retry,
            record.index,
            [_wire.span_to_wire(span) for span in record.spans],
            _wire.turn_to_wire(record.turn),
        ]
        f.record(wire, _FIELDS)
    return seal(b"R", wire, name)


def decode_turn_record(data: bytes) -> TurnRecord:
    """Return the line that `encode_turn_record` wrote.

    Raises:
        ProtocolError: The bytes are truncated, damaged, foreign, of a newer version, or break the format.
    """
    wire = unseal(b"R", data, "a turn record")
    with blaming("a turn record", "decode"):
        f.record(wire, _FIELDS)
        trajectory_id, group_id, member, retry, index, spans, turn = wire
        added = tuple([_wire.span_from_wire(span) for span in spans])
        return TurnRecord(trajectory_id, group_id, member, retry, index, added, _wire.turn_from_wire(turn))
