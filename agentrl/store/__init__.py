"""The trajectory store: durable before acknowledged, idempotent by id, consumed with the checkpoint that trained."""

from agentrl.store._base import (
    CheckpointRecord,
    ClaimedGroup,
    GroupRecord,
    StoreCounts,
    TrajectoryStore,
    TurnRecord,
)

__all__ = ["CheckpointRecord", "ClaimedGroup", "GroupRecord", "StoreCounts", "TrajectoryStore", "TurnRecord"]
