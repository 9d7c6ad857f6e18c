"""The clock that durations are measured with."""

from __future__ import annotations

import asyncio
import time


def monotonic() -> float:
    """Return the running event loop's time in seconds; it never goes back.

    Taken from the loop, so that a simulation with virtual time measures virtual durations. Outside a loop, and in every
    loop of the standard library, it is `time.monotonic()`.
    """
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
