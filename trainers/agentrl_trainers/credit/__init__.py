"""Credit: from the rewards of trajectories to one advantage per sampled token.

A method is a composition of pure functions, turn rewards → estimator → modulators, and has a name in `COMPOSITIONS`.
"""

from agentrl_trainers.credit._batch import CreditBatch, Plan
from agentrl_trainers.credit._build import credit_batch
from agentrl_trainers.credit._compositions import (
    COMPOSITIONS,
    Composition,
    assign,
    assign_with_targets,
    check,
    composition,
    register,
)
from agentrl_trainers.credit._credit import Credit
from agentrl_trainers.credit._needs import Need
from agentrl_trainers.credit._similarity import similar_anchors
from agentrl_trainers.credit._value_tracker import ValueTracker

__all__ = [
    "COMPOSITIONS",
    "Composition",
    "Credit",
    "CreditBatch",
    "Need",
    "Plan",
    "ValueTracker",
    "assign",
    "assign_with_targets",
    "check",
    "composition",
    "credit_batch",
    "register",
    "similar_anchors",
]
