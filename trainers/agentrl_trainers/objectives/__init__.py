"""Objectives: from log-probs and advantages to a loss per token and its diagnostics; pure functions on flat arrays."""

from agentrl_trainers.objectives._aggregate import Aggregation, Denominators, aggregation_weights
from agentrl_trainers.objectives._decoupled import decoupled_ppo
from agentrl_trainers.objectives._importance import ImportanceWeights, importance_weights
from agentrl_trainers.objectives._kl import KLKind, kl
from agentrl_trainers.objectives._ppo import ppo_clip
from agentrl_trainers.objectives._table import OBJECTIVES, coupled_ppo, objective
from agentrl_trainers.objectives._token_loss import Objective, TokenLoss

__all__ = [
    "OBJECTIVES",
    "Aggregation",
    "Denominators",
    "ImportanceWeights",
    "KLKind",
    "Objective",
    "TokenLoss",
    "aggregation_weights",
    "coupled_ppo",
    "decoupled_ppo",
    "importance_weights",
    "kl",
    "objective",
    "ppo_clip",
]
