"""What is read from the store: each function runs within one read transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from agentrl.store._base import ClaimedGroup, GroupRecord, StoreCounts, TurnRecord
from agentrl.store._log import GROUP_COLUMNS
from agentrl.store._rows import RowReader, first_turn_key, unpack_keys
from agentrl.trajectory import Trajectory, decode_turn


def open_groups(connection: sqlite3.Connection) -> list[GroupRecord]:
    """Return groups that lack members, by index."""
    rows = connection.execute(
        f"SELECT {GROUP_COLUMNS} FROM groups WHERE claimed_step IS NULL AND stored < size ORDER BY position"
    )
    return [GroupRecord(*row) for row in rows]


def next_group_index(connection: sqlite3.Connection) -> int:
    """Return the first index that was never admitted, gaps included."""
    count, largest = connection.execute("SELECT count(*), coalesce(max(position), -1) FROM groups").fetchone()
    if count == largest + 1:
        return int(count)
    (gap,) = connection.execute(
        "SELECT min(candidate) FROM (SELECT 0 AS candidate UNION ALL SELECT position + 1 FROM groups) "
        "WHERE candidate NOT IN (SELECT position FROM groups)"
    ).fetchone()
    return int(gap)


def members(connection: sqlite3.Connection, group_id: str) -> set[int]:
    """Return the members of a group that are stored."""
    rows = connection.execute(
        "SELECT member FROM attempts JOIN groups USING (position) WHERE groups.id = ? AND attempts.stored IS NOT NULL",
        (group_id,),
    )
    return {member for (member,) in rows}


def turns(connection: sqlite3.Connection, trajectory_id: str) -> list[TurnRecord]:
    """Return the turn log of an attempt, up to the first turn that is missing."""
    row = connection.execute(
        "SELECT key, groups.id, member, retry FROM attempts JOIN groups USING (position) WHERE attempts.id = ?",
        (trajectory_id,),
    ).fetchone()
    if row is None:
        return []
    attempt, group_id, member, retry = row
    reader = RowReader(connection)
    first, after = first_turn_key(attempt), first_turn_key(attempt + 1)
    rows = connection.execute(
        "SELECT key, spans, data FROM turns WHERE key >= ? AND key < ? ORDER BY key", (first, after)
    ).fetchall()
    log: list[TurnRecord] = []
    for index, (key, spans, data) in enumerate(rows):
        if key != first + index or spans is None:
            break
        added = reader.spans(unpack_keys(spans))
        log.append(TurnRecord(trajectory_id, group_id, member, retry, index, added, decode_turn(data)))
    return log


def trajectories(connection: sqlite3.Connection, group_ids: Sequence[str] | None) -> list[Trajectory]:
    """Return finished trajectories in the order they were stored."""
    reader = RowReader(connection)
    if group_ids is None:
        rows = connection.execute("SELECT stored, key, head FROM attempts WHERE stored IS NOT NULL").fetchall()
    else:
        rows = []
        for group_id in dict.fromkeys(group_ids):
            rows += connection.execute(
                "SELECT attempts.stored, key, head FROM attempts JOIN groups USING (position) "
                "WHERE groups.id = ? AND attempts.stored IS NOT NULL",
                (group_id,),
            ).fetchall()
    return [reader.trajectory(attempt, head) for _, attempt, head in sorted(rows)]


def claimed_groups(connection: sqlite3.Connection, groups: Sequence[GroupRecord]) -> list[ClaimedGroup]:
    """Return groups with their members, sorted by member."""
    return [
        ClaimedGroup(group, tuple(sorted(trajectories(connection, [group.id]), key=lambda stored: stored.member)))
        for group in groups
    ]


def counts(connection: sqlite3.Connection) -> StoreCounts:
    """Return how much the store holds."""
    row = connection.execute(
        """
        SELECT count(*), total(stored), total(stored - failed),
            total(stored) FILTER (WHERE claimed_step IS NOT NULL AND consumed_step IS NULL),
            total(stored) FILTER (WHERE consumed_step IS NOT NULL),
            total(failed), total(turns)
        FROM groups
        """
    ).fetchone()
    return StoreCounts(*(int(value) for value in row))
