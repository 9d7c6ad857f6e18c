"""Every error AgentRL raises on purpose, one class per party at fault.

    AgentRLError
    ├── ConfigError            the run file, a command-line value, a wrong path: the user mends it (exit code 2)
    │   └── PrerequisiteError  something is not installed or not started; the message has the command that helps
    ├── TaskError              a task file or a task row
    ├── EnvError               the environment's own code or its server failed; never the agent's fault
    ├── ToolError              shown to the agent as the tool's answer; the episode goes on
    ├── SandboxError           the sandbox failed, which says nothing about the code run in it
    ├── PolicyError            the policy engine failed or was asked for what it cannot do
    ├── ProtocolError          bytes or messages that do not follow the format: truncated, malformed, wrong version
    └── StoreError             the trajectory store cannot keep its promise: full disk, foreign or damaged file

`StopEpisode` is no error: an environment raises it to end its episode.
A message says what happened, where, what was expected, and what to do next.
"""

from __future__ import annotations


class AgentRLError(Exception):
    """Root of all errors that AgentRL raises on purpose."""


class ConfigError(AgentRLError):
    """The configuration is wrong; the message names the file, the key and the remedy."""


class PrerequisiteError(ConfigError):
    """Something this needs is not installed or not running.

    Args:
        what: What is missing, e.g. "the babyai environment needs the package minigrid".
        remedy: The exact command that mends it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}. To mend it: {remedy}")
        self.what = what
        self.remedy = remedy


class TaskError(AgentRLError):
    """A task source or a row of it is malformed; the message names file and line."""


class EnvError(AgentRLError):
    """The environment failed by no fault of the agent; the episode is an `error` and is never trained on."""


class ToolError(AgentRLError):
    """A tool's refusal or failure that the agent should read; its text becomes the tool message."""


class SandboxError(AgentRLError):
    """The sandbox itself failed; the result of the code is unknown, not wrong."""


class PolicyError(AgentRLError):
    """The policy engine failed, or cannot do what was asked of it."""


class ProtocolError(AgentRLError):
    """Bytes or messages that do not follow the format that was expected."""


class StoreError(AgentRLError):
    """The trajectory store cannot keep its promise of durability."""


class StopEpisode(Exception):
    """Raised by an environment to end its episode.

    Args:
        message: What the agent would have seen; kept in the trajectory.
        reward: Reward of the turn that ended the episode, if it has one.
    """

    def __init__(self, message: str = "", reward: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reward = reward
