"""How a failure of an environment's own code is told."""

from __future__ import annotations

import traceback

from agentrl.errors import EnvError


def env_failure(env: str, place: str, error: BaseException) -> EnvError:
    """Return the error that blames an environment; raise it `from error`.

    Args:
        env: Name of the environment.
        place: Method, and task where known, e.g. "reset of task 't-3'".
        error: What its code raised.
    """
    kind = type(error).__name__
    return EnvError(f"{env}: {place} raised {kind}: {error}{_raised_at(error)}")


def _raised_at(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
