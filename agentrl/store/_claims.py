"""Claims, checkpoints and versions: what ties a trajectory to the one step that trains on it. Jobs of the writer."""

from __future__ import annotations

import sqlite3

from agentrl.errors import StoreError
from agentrl.store._base import CheckpointRecord, GroupRecord
from agentrl.store._log import GROUP_COLUMNS


def claim(connection: sqlite3.Connection, step: int, groups: int) -> list[GroupRecord]:
    """Claim the oldest complete groups for a step; all or none."""
    if groups < 1:
        raise StoreError(f"step {step} claims {groups} groups; expected at least 1")
    last = last_checkpoint(connection)
    if last is not None and step <= last.step:
        raise StoreError(
            f"step {step} cannot claim: the checkpoint of step {last.step} has consumed its groups; "
            f"load {last.path} and go on with step {last.step + 1}"
        )
    held = connection.execute(
        f"SELECT {GROUP_COLUMNS} FROM groups WHERE claimed_step = ? AND consumed_step IS NULL ORDER BY position",
        (step,),
    ).fetchall()
    if held:
        return [GroupRecord(*row) for row in held]
    ready = connection.execute(
        f"SELECT {GROUP_COLUMNS} FROM groups WHERE claimed_step IS NULL AND stored = size ORDER BY position LIMIT ?",
        (groups,),
    ).fetchall()
    if len(ready) < groups:
        return []
    records = [GroupRecord(*row) for row in ready]
    connection.executemany(
        "UPDATE groups SET claimed_step = ? WHERE position = ?", [(step, record.index) for record in records]
    )
    return records


def commit_checkpoint(connection: sqlite3.Connection, checkpoint: CheckpointRecord) -> None:
    """Record a checkpoint and consume what was claimed up to its step."""
    last = last_checkpoint(connection)
    if last == checkpoint:
        return
    if last is not None and checkpoint.step <= last.step:
        raise StoreError(
            f"{checkpoint} comes after {last}; a checkpoint never goes back: resume from {last.path}, "
            "or give another `output` folder"
        )
    connection.execute(
        "INSERT INTO checkpoints (step, version, path) VALUES (?, ?, ?)",
        (checkpoint.step, checkpoint.version, checkpoint.path),
    )
    connection.execute(
        "UPDATE groups SET consumed_step = ?1 WHERE claimed_step IS NOT NULL AND claimed_step <= ?1 "
        "AND consumed_step IS NULL",
        (checkpoint.step,),
    )


def last_checkpoint(connection: sqlite3.Connection) -> CheckpointRecord | None:
    """Return the newest checkpoint."""
    row = connection.execute("SELECT step, version, path FROM checkpoints ORDER BY step DESC LIMIT 1").fetchone()
    return None if row is None else CheckpointRecord(*row)


def recover(connection: sqlite3.Connection) -> int:
    """Release claims that no checkpoint consumed; return how many trajectories they held."""
    (held,) = connection.execute(
        "SELECT coalesce(sum(stored), 0) FROM groups WHERE claimed_step IS NOT NULL AND consumed_step IS NULL"
    ).fetchone()
    connection.execute("UPDATE groups SET claimed_step = NULL WHERE claimed_step IS NOT NULL AND consumed_step IS NULL")
    return int(held)


def record_version(connection: sqlite3.Connection, version: int, step: int) -> None:
    """Record a version that is about to be published."""
    last = last_version(connection)
    if last is not None and version <= last:
        raise StoreError(
            f"version {version} (step {step}) cannot be published: version {last} was recorded before, and a number "
            f"never names two sets of weights; take {last + 1}"
        )
    connection.execute("INSERT INTO versions (version, step) VALUES (?, ?)", (version, step))


def last_version(connection: sqlite3.Connection) -> int | None:
    """Return the largest version ever recorded."""
    (version,) = connection.execute("SELECT max(version) FROM versions").fetchone()
    return version if version is None else int(version)
