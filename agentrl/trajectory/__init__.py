"""The data model: trajectories, their spans and turns, and the binary codec."""

from agentrl.trajectory._codec import (
    decode_span,
    decode_trajectory,
    decode_turn,
    encode_span,
    encode_trajectory,
    encode_turn,
)
from agentrl.trajectory._fields import MAX_NESTING
from agentrl.trajectory._frame import FORMAT_VERSION
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

__all__ = [
    "FORMAT_VERSION",
    "MAX_NESTING",
    "Segment",
    "Span",
    "SpanKind",
    "Status",
    "StopReason",
    "Timing",
    "ToolOutcome",
    "Trajectory",
    "Turn",
    "decode_span",
    "decode_trajectory",
    "decode_turn",
    "encode_span",
    "encode_trajectory",
    "encode_turn",
]
