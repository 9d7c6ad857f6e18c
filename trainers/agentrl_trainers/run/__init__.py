"""Runs: the loop that trains, and everything it needs from the run file."""

from agentrl_trainers.run._parts import check_model, open_environments
from agentrl_trainers.run._result import Observer, Silent, TrainingResult
from agentrl_trainers.run._training import train

__all__ = ["Observer", "Silent", "TrainingResult", "check_model", "open_environments", "train"]
