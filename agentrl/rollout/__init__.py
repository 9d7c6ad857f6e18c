"""Rollouts: the agent loop, the scheduler that keeps many of them going, and the decisions it makes."""

from agentrl.rollout._attempts import ErrorStreak
from agentrl.rollout._collect import collect
from agentrl.rollout._decisions import (
    AdmissionRule,
    Obstacle,
    beyond_bound,
    decode_priority,
    groups_to_open,
    obstacle,
    token_staleness,
)
from agentrl.rollout._demonstration import ActionPool, demonstrate_episode
from agentrl.rollout._episode import TurnLog, run_episode
from agentrl.rollout._generation import TurnGeneration, generate_turn
from agentrl.rollout._identity import EpisodeIdentity, group_id, stable_seed
from agentrl.rollout._limits import EpisodeLimits
from agentrl.rollout._order import EnvironmentShare, TaskOrder, TaskPlace
from agentrl.rollout._plan import RolloutPlan
from agentrl.rollout._progress import EpisodeProgress, Phase
from agentrl.rollout._scheduler import Deliver, RolloutScheduler
from agentrl.rollout._stats import RolloutStats
from agentrl.rollout._watchdog import Watchdog

__all__ = [
    "ActionPool",
    "AdmissionRule",
    "Deliver",
    "EnvironmentShare",
    "EpisodeIdentity",
    "EpisodeLimits",
    "EpisodeProgress",
    "ErrorStreak",
    "Obstacle",
    "Phase",
    "RolloutPlan",
    "RolloutScheduler",
    "RolloutStats",
    "TaskOrder",
    "TaskPlace",
    "TurnGeneration",
    "TurnLog",
    "Watchdog",
    "beyond_bound",
    "collect",
    "decode_priority",
    "demonstrate_episode",
    "generate_turn",
    "group_id",
    "groups_to_open",
    "obstacle",
    "run_episode",
    "stable_seed",
    "token_staleness",
]
