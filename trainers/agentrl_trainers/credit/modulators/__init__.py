"""Modulators: what is done to advantages after an estimator made them, each on a page of its own."""

from agentrl_trainers.credit.modulators._attribution import hard_attribution
from agentrl_trainers.credit.modulators._d3s import d3s, d3s_schedule, most_varied
from agentrl_trainers.credit.modulators._dynamic_sampling import dynamic_sampling, overlong_filtering, varied_groups
from agentrl_trainers.credit.modulators._empg import empg
from agentrl_trainers.credit.modulators._entropy_balance import entropy_balance
from agentrl_trainers.credit.modulators._whiten import whiten

__all__ = [
    "d3s",
    "d3s_schedule",
    "dynamic_sampling",
    "empg",
    "entropy_balance",
    "hard_attribution",
    "most_varied",
    "overlong_filtering",
    "varied_groups",
    "whiten",
]
