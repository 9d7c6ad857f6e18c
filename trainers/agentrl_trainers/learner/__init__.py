"""The learner: packs rows by a token budget, takes optimizer steps, and keeps checkpoints."""

from agentrl_trainers.learner._checkpoint import (
    CheckpointState,
    checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from agentrl_trainers.learner._critic import Critic
from agentrl_trainers.learner._files import whole_folder
from agentrl_trainers.learner._learner import Learner
from agentrl_trainers.learner._model import PolicyModel, load_model
from agentrl_trainers.learner._model_folder import ModelIdentity, write_model
from agentrl_trainers.learner._optimizer import make_optimizer, set_lr
from agentrl_trainers.learner._pack import MicroBatch, pack
from agentrl_trainers.learner._report import StepReport, TrainingDivergedError
from agentrl_trainers.learner._rows import Lesson, Row, make_rows, segments, turn_order

__all__ = [
    "CheckpointState",
    "Critic",
    "Learner",
    "Lesson",
    "MicroBatch",
    "ModelIdentity",
    "PolicyModel",
    "Row",
    "StepReport",
    "TrainingDivergedError",
    "checkpoints",
    "load_checkpoint",
    "load_model",
    "make_optimizer",
    "make_rows",
    "pack",
    "prune_checkpoints",
    "save_checkpoint",
    "segments",
    "set_lr",
    "turn_order",
    "whole_folder",
    "write_model",
]
