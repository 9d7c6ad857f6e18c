"""Configuration: the typed run file, read, checked, overridden and written back."""

from agentrl.config._load import load_run
from agentrl.config._options import Option, options, options_help
from agentrl.config._run import (
    CheckpointSection,
    CriticSection,
    EnvSection,
    EvalSection,
    RolloutSection,
    RunConfig,
    SftSection,
    TrackSection,
    TrainerSection,
)
from agentrl.config._write import RESOLVED_NAME, save_resolved

__all__ = [
    "RESOLVED_NAME",
    "CheckpointSection",
    "CriticSection",
    "EnvSection",
    "EvalSection",
    "Option",
    "RolloutSection",
    "RunConfig",
    "SftSection",
    "TrackSection",
    "TrainerSection",
    "load_run",
    "options",
    "options_help",
    "save_resolved",
]
