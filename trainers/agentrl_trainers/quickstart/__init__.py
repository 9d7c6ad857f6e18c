"""The quickstart: from nothing to a policy that acts, in one command and a few minutes."""

from agentrl_trainers.quickstart._stages import quickstart

__all__ = ["quickstart"]
