"""The environment API: define an environment, open it, play episodes of it."""

from agentrl.env._env import Env
from agentrl.env._load import load
from agentrl.env._local import LocalEnv, LocalSession
from agentrl.env._reward import RewardSpec, reward
from agentrl.env._session import EnvFactory, EnvSession, Opening, Score, StepResult
from agentrl.env._step import Step
from agentrl.env._tool import ToolSpec, tool
from agentrl.env._worker import WorkerStats, worker_stats

__all__ = [
    "Env",
    "EnvFactory",
    "EnvSession",
    "LocalEnv",
    "LocalSession",
    "Opening",
    "RewardSpec",
    "Score",
    "Step",
    "StepResult",
    "ToolSpec",
    "WorkerStats",
    "load",
    "reward",
    "tool",
    "worker_stats",
]
