"""Finishing what must be finished although the task is being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finish_despite_cancellation(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, then let a cancellation that arrived meanwhile take effect.

    The caller sees to it that `work` ends: it carries its own deadlines. Its failure is raised also when cancelled.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except Exception:
            # The failure of the work itself: `task.result()` raises it below.
            break
    if cancelled is not None and task.exception() is None:
        raise cancelled
    return task.result()
