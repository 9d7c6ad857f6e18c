"""AgentRL: asynchronous reinforcement learning of multi-turn language-model agents.

The public names are loaded at first use, so that `import agentrl` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentrl.env import Env, EnvFactory, EnvSession, Opening, Score, Step, StepResult, load, reward, tool
    from agentrl.errors import (
        AgentRLError,
        ConfigError,
        EnvError,
        PolicyError,
        PrerequisiteError,
        ProtocolError,
        SandboxError,
        StopEpisode,
        StoreError,
        TaskError,
        ToolError,
    )
    from agentrl.messages import Message, ToolCall
    from agentrl.tasks import JsonlTasks, ListTasks, SeededTasks, Task, TaskSource

__all__ = [
    "AgentRLError",
    "ConfigError",
    "Env",
    "EnvError",
    "EnvFactory",
    "EnvSession",
    "JsonlTasks",
    "ListTasks",
    "Message",
    "Opening",
    "PolicyError",
    "PrerequisiteError",
    "ProtocolError",
    "SandboxError",
    "Score",
    "SeededTasks",
    "Step",
    "StepResult",
    "StopEpisode",
    "StoreError",
    "Task",
    "TaskError",
    "TaskSource",
    "ToolCall",
    "ToolError",
    "load",
    "reward",
    "tool",
]

_HOMES = {
    "agentrl.env": "Env EnvFactory EnvSession Opening Score Step StepResult load reward tool",
    "agentrl.errors": (
        "AgentRLError ConfigError EnvError PolicyError PrerequisiteError ProtocolError SandboxError StopEpisode "
        "StoreError TaskError ToolError"
    ),
    "agentrl.messages": "Message ToolCall",
    "agentrl.tasks": "JsonlTasks ListTasks SeededTasks Task TaskSource",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'agentrl' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
