"""Estimators: from rewards to one advantage per sampled token, each method on a page of its own."""

from agentrl_trainers.credit.estimators._dr_grpo import dr_grpo
from agentrl_trainers.credit.estimators._gigpo import gigpo
from agentrl_trainers.credit.estimators._grpo import grpo
from agentrl_trainers.credit.estimators._hgpo import hgpo
from agentrl_trainers.credit.estimators._igpo import igpo
from agentrl_trainers.credit.estimators._igpo_2025 import igpo_2025
from agentrl_trainers.credit.estimators._rloo import rloo
from agentrl_trainers.credit.estimators._turn_group import turn_group

__all__ = ["dr_grpo", "gigpo", "grpo", "hgpo", "igpo", "igpo_2025", "rloo", "turn_group"]
