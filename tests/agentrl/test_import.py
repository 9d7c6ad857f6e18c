"""`import agentrl` stays cheap, and its public names do not change by accident."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import agentrl

ROOT = Path(agentrl.__path__[0]).parent

PUBLIC_NAMES = [
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


def fresh_interpreter(code: str) -> str:
    """Run code in a new process that has nothing imported, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    return done.stdout.strip()


def test_import_takes_less_than_three_tenths_of_a_second() -> None:
    code = "import time; start = time.perf_counter(); import agentrl; print(time.perf_counter() - start)"
    assert min(float(fresh_interpreter(code)) for _ in range(3)) < 0.3


def test_defining_an_environment_loads_none_of_the_heavy_packages() -> None:
    code = (
        "import sys, agentrl\nfor name in agentrl.__all__: getattr(agentrl, name)\nimport agentrl.testing\n"
        "print([name for name in ('torch', 'transformers', 'matplotlib', 'gymnasium') if name in sys.modules])"
    )
    assert fresh_interpreter(code) == "[]"


def test_public_names_are_frozen() -> None:
    assert agentrl.__all__ == PUBLIC_NAMES
    assert set(PUBLIC_NAMES) <= set(dir(agentrl))
    for name in PUBLIC_NAMES:
        assert getattr(agentrl, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Environment"):
        _ = agentrl.Environment
