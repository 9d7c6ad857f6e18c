"""The tables of the store file, and how a file is recognised as one.

    groups    one row per admitted group: its place in the task order, how many members are stored, its claim
    attempts  one row per trajectory, from its first logged turn on; `stored` and `head` come when it is finished
    turns     one row per turn; its key is `attempt * 2^20 + index`, so the turns of an attempt lie side by side
    spans     one row per span, stored once whoever refers to it

A turn row's `spans` are the keys of the spans it added, as the turn log was told; NULL where the turn first came with
its finished trajectory.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agentrl.errors import StoreError

APPLICATION_ID = 0x41525453
"""Marks the SQLite file as ours: "ARTS"."""
SCHEMA_VERSION = 1
TURN_BITS = 20
"""Turns of one trajectory are numbered below 2^TURN_BITS."""

_TABLES = (
    """
    CREATE TABLE groups (
        position INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        env TEXT NOT NULL,
        split TEXT NOT NULL,
        task_index INTEGER NOT NULL,
        size INTEGER NOT NULL,
        version INTEGER NOT NULL,
        stored INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        turns INTEGER NOT NULL DEFAULT 0,
        claimed_step INTEGER,
        consumed_step INTEGER
    )
    """,
    "CREATE INDEX unclaimed_groups ON groups (position) WHERE claimed_step IS NULL",
    "CREATE INDEX open_claims ON groups (claimed_step) WHERE claimed_step IS NOT NULL AND consumed_step IS NULL",
    """
    CREATE TABLE attempts (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        position INTEGER NOT NULL REFERENCES groups (position),
        member INTEGER NOT NULL,
        retry INTEGER NOT NULL,
        stored INTEGER UNIQUE,
        head BLOB
    )
    """,
    "CREATE UNIQUE INDEX one_trajectory_per_member ON attempts (position, member) WHERE stored IS NOT NULL",
    "CREATE TABLE turns (key INTEGER PRIMARY KEY, spans BLOB, data BLOB NOT NULL)",
    "CREATE TABLE spans (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, data BLOB NOT NULL)",
    "CREATE TABLE checkpoints (step INTEGER PRIMARY KEY, version INTEGER NOT NULL, path TEXT NOT NULL)",
    "CREATE TABLE versions (version INTEGER PRIMARY KEY, step INTEGER NOT NULL)",
)


def is_new(connection: sqlite3.Connection) -> bool:
    """Tell whether the file holds nothing yet: just made, or a crash came before its tables were there."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return bool(application == 0 and tables == 0)


def create(connection: sqlite3.Connection) -> None:
    """Make the tables, all or none."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that the file is a trajectory store of a schema that this code knows.

    Raises:
        StoreError: It is another program's file, or of a newer AgentRL.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise StoreError(
            f"{path} is an SQLite file of another program (application id {application:#x}, expected "
            f"{APPLICATION_ID:#x}); give another `output` folder, or move the file away"
        )
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} is a trajectory store of schema {version}, this AgentRL knows {SCHEMA_VERSION}; "
            "open it with the AgentRL that wrote it: pip install --upgrade agentrl"
        )
