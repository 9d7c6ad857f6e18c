"""The commands that need torch: found by the command line through the entry points of the distribution."""

from agentrl_trainers.commands._credit import credit
from agentrl_trainers.commands._init_model import init_model
from agentrl_trainers.commands._quickstart import quickstart
from agentrl_trainers.commands._sft import sft
from agentrl_trainers.commands._train import train

__all__ = ["credit", "init_model", "quickstart", "sft", "train"]
