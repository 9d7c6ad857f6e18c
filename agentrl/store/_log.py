"""What is written to the two logs, turns and trajectories: each function is one job of the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from agentrl.errors import ProtocolError, StoreError
from agentrl.store._base import GroupRecord, TurnRecord
from agentrl.store._rows import first_turn_key, head_blob, pack_keys, span_blob
from agentrl.store._schema import TURN_BITS
from agentrl.trajectory import Span, Status, Trajectory, encode_turn
from agentrl.trajectory._codec import distinct_spans

GROUP_COLUMNS = "id, position, env, split, task_index, size, version"


class _Attempt(NamedTuple):
    """Which trajectory something belongs to."""

    id: str
    group_id: str
    member: int
    retry: int


def open_group(connection: sqlite3.Connection, group: GroupRecord) -> None:
    """Record an admission. What is there already stays, its version of admission included."""
    row = connection.execute(
        f"SELECT {GROUP_COLUMNS} FROM groups WHERE id = ? OR position = ?", (group.id, group.index)
    ).fetchone()
    if row is None:
        connection.execute(
            f"INSERT INTO groups ({GROUP_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (group.id, group.index, group.env, group.split, group.task_index, group.size, group.version),
        )
        return
    known = GroupRecord(*row)
    if (known.id, known.index, known.env, known.split, known.task_index, known.size) != (
        group.id,
        group.index,
        group.env,
        group.split,
        group.task_index,
        group.size,
    ):
        raise StoreError(
            f"{group} was opened, but the store has {known}; the run file's environments, `group` or seed changed "
            "since: resume with the run folder's own config, or give another `output` folder"
        )


def append_turn(connection: sqlite3.Connection, record: TurnRecord) -> None:
    """Append a line to the turn log. A line that is there already stays."""
    if not 0 <= record.index < 1 << TURN_BITS:
        raise StoreError(f"turn {record.index} of {record.trajectory_id!r}: expected 0 to {(1 << TURN_BITS) - 1}")
    of = _Attempt(record.trajectory_id, record.group_id, record.member, record.retry)
    position = _position(connection, of)
    attempt = _attempt(connection, of, position)
    key = first_turn_key(attempt) + record.index
    row = connection.execute("SELECT spans FROM turns WHERE key = ?", (key,)).fetchone()
    if row is not None and row[0] is None:
        return  # it came with the finished trajectory
    keys = _store_spans(connection, record.spans)
    spans = pack_keys([keys[span.id] for span in record.spans])
    if row is None:
        data = encode_turn(record.turn)
        connection.execute("INSERT INTO turns (key, spans, data) VALUES (?, ?, ?)", (key, spans, data))
        connection.execute("UPDATE groups SET turns = turns + 1 WHERE position = ?", (position,))
    elif row[0] != spans:
        raise StoreError(
            f"turn {record.index} of {record.trajectory_id!r} is already logged with other spans; an episode that "
            "starts again needs a new retry number"
        )


def add(connection: sqlite3.Connection, trajectory: Trajectory) -> bool:
    """Store a finished trajectory, its spans and those of its turns that were not logged."""
    of = _Attempt(trajectory.id, trajectory.group_id, trajectory.member, trajectory.retry)
    position = _position(connection, of)
    taken = connection.execute(
        "SELECT 1 FROM attempts WHERE position = ? AND member = ? AND stored IS NOT NULL", (position, of.member)
    ).fetchone()
    if taken is not None:
        return False
    attempt = _attempt(connection, of, position)
    keys = _store_spans(connection, (span for segment in trajectory.segments for span in segment.spans))
    new_turns = _store_turns(connection, trajectory, first_turn_key(attempt))
    connection.execute(
        "UPDATE attempts SET stored = (SELECT coalesce(max(stored), 0) + 1 FROM attempts), head = ? WHERE key = ?",
        (head_blob(trajectory, keys), attempt),
    )
    connection.execute(
        "UPDATE groups SET stored = stored + 1, failed = failed + ?, turns = turns + ? WHERE position = ?",
        (trajectory.status is Status.ERROR, new_turns, position),
    )
    return True


def _position(connection: sqlite3.Connection, of: _Attempt) -> int:
    row = connection.execute("SELECT position, size FROM groups WHERE id = ?", (of.group_id,)).fetchone()
    if row is None:
        raise StoreError(
            f"trajectory {of.id!r} belongs to group {of.group_id!r}, never admitted: call open_group first"
        )
    position, size = row
    if not 0 <= of.member < size:
        raise StoreError(
            f"trajectory {of.id!r} is member {of.member} of {of.group_id!r}; it has members 0 to {size - 1}"
        )
    return int(position)


def _attempt(connection: sqlite3.Connection, of: _Attempt, position: int) -> int:
    row = connection.execute("SELECT key, position, member, retry FROM attempts WHERE id = ?", (of.id,)).fetchone()
    if row is None:
        cursor = connection.execute(
            "INSERT INTO attempts (id, position, member, retry) VALUES (?, ?, ?, ?)",
            (of.id, position, of.member, of.retry),
        )
        assert cursor.lastrowid is not None  # an INSERT has one
        return cursor.lastrowid
    if row[1:] != (position, of.member, of.retry):
        raise StoreError(
            f"trajectory id {of.id!r} is taken by group {row[1]}, member {row[2]}, retry {row[3]}, and came again for "
            f"group {position}, member {of.member}, retry {of.retry}; an id names one attempt for ever"
        )
    return int(row[0])


def _store_spans(connection: sqlite3.Connection, spans: Iterable[Span]) -> dict[str, int]:
    try:
        distinct = distinct_spans(spans)
    except ValueError as error:
        raise ProtocolError(f"cannot store: {error}") from error
    keys: dict[str, int] = {}
    for span in distinct.values():
        blob = span_blob(span)
        cursor = connection.execute(
            "INSERT INTO spans (id, data) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (span.id, blob)
        )
        if cursor.rowcount == 1 and cursor.lastrowid is not None:
            keys[span.id] = cursor.lastrowid
            continue
        key, known = connection.execute("SELECT key, data FROM spans WHERE id = ?", (span.id,)).fetchone()
        if known != blob:
            raise StoreError(
                f"span {span.id!r} is already stored with other tokens; an id names one span for ever, and an episode "
                "that starts again needs a new retry number"
            )
        keys[span.id] = key
    return keys


def _store_turns(connection: sqlite3.Connection, trajectory: Trajectory, first: int) -> int:
    """Write turns that the log lacks or has in another form (its timing ended later); return how many it lacked."""
    if len(trajectory.turns) > 1 << TURN_BITS:
        raise StoreError(
            f"trajectory {trajectory.id!r} has {len(trajectory.turns)} turns, at most {1 << TURN_BITS} fit"
        )
    blobs = {first + index: encode_turn(turn) for index, turn in enumerate(trajectory.turns)}
    rows = connection.execute("SELECT key, data FROM turns WHERE key >= ? AND key < ?", (first, first + len(blobs)))
    logged = dict(rows.fetchall())
    new = [(key, blob) for key, blob in blobs.items() if key not in logged]
    changed = [(blob, key) for key, blob in blobs.items() if key in logged and logged[key] != blob]
    connection.executemany("INSERT INTO turns (key, data) VALUES (?, ?)", new)
    connection.executemany("UPDATE turns SET data = ? WHERE key = ?", changed)
    return len(new)
