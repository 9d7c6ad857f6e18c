"""BabyAI in text: the levels of the package minigrid, observed and acted on in few words."""

from agentrl_environments.babyai._actions import Action, parse_action
from agentrl_environments.babyai._env import BabyAI
from agentrl_environments.babyai._levels import level_names
from agentrl_environments.babyai._words import vocabulary

__all__ = ["Action", "BabyAI", "level_names", "parse_action", "vocabulary"]
