"""Warm start: imitation of expert episodes, with loss on action tokens only."""

from agentrl_trainers.sft._demonstrations import Demonstrations, collect_demonstrations
from agentrl_trainers.sft._sft import SftProgress, SftReport, sft

__all__ = ["Demonstrations", "SftProgress", "SftReport", "collect_demonstrations", "sft"]
