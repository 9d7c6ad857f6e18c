"""The data model: trajectories, their spans and turns, and the binary codec."""

from agentrl.trajectory._types import (
    Segment,
    Span,
    SpanKind,
    Status,
    StopReason,
    Timing,
    ToolOutcome,
    Trajectory,
    Turn,
)

__all__ = ["Segment", "Span", "SpanKind", "Status", "StopReason", "Timing", "ToolOutcome", "Trajectory", "Turn"]
