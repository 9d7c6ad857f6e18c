"""The trajectory store: durable before acknowledged, idempotent by id, consumed with the checkpoint that trained."""

from agentrl.store._base import (
    STORE_NAME,
    CheckpointRecord,
    ClaimedGroup,
    GroupRecord,
    StoreCounts,
    TrajectoryStore,
    TurnRecord,
)
from agentrl.store._records import decode_turn_record, encode_turn_record
from agentrl.store._sqlite import SqliteStore

__all__ = [
    "STORE_NAME",
    "CheckpointRecord",
    "ClaimedGroup",
    "GroupRecord",
    "SqliteStore",
    "StoreCounts",
    "TrajectoryStore",
    "TurnRecord",
    "decode_turn_record",
    "encode_turn_record",
]
