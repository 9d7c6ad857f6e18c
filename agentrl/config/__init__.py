"""Configuration: the typed run file."""

from agentrl.config._run import (
    CheckpointSection,
    EnvSection,
    EvalSection,
    RolloutSection,
    RunConfig,
    SftSection,
    TrackSection,
    TrainerSection,
)

__all__ = [
    "CheckpointSection",
    "EnvSection",
    "EvalSection",
    "RolloutSection",
    "RunConfig",
    "SftSection",
    "TrackSection",
    "TrainerSection",
]
