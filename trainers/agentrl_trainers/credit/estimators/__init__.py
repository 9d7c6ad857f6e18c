"""Estimators: from rewards to one advantage per sampled token, each method on a page of its own."""

from agentrl_trainers.credit.estimators._dr_grpo import dr_grpo
from agentrl_trainers.credit.estimators._grpo import grpo
from agentrl_trainers.credit.estimators._rloo import rloo

__all__ = ["dr_grpo", "grpo", "rloo"]
