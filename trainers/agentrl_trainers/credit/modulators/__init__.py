"""Modulators: what is done to advantages after an estimator made them, each on a page of its own."""

from agentrl_trainers.credit.modulators._whiten import whiten

__all__ = ["whiten"]
