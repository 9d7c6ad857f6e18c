"""Credit: from the rewards of trajectories to one advantage per sampled token.

A method is a composition of pure functions, turn rewards → estimator → modulators, and has a name in `COMPOSITIONS`.
"""

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._build import credit_batch
from agentrl_trainers.credit._compositions import COMPOSITIONS, Composition, assign, check, composition
from agentrl_trainers.credit._needs import Need

__all__ = ["COMPOSITIONS", "Composition", "CreditBatch", "Need", "assign", "check", "composition", "credit_batch"]
