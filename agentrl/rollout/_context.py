"""Keeping what the policy reads within its context window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentrl.messages import Message
from agentrl.rendering._base import Renderer
from agentrl.rollout._recorder import EpisodeRecorder
from agentrl.trajectory._types import Int32


def append_prompt(recorder: EpisodeRecorder, prompt: Int32, max_context: int) -> bool:
    """Open a segment with `prompt`; False, and nothing done, where it leaves no room for a token to be sampled."""
    if len(prompt) >= max_context:
        return False
    recorder.open_segment(prompt)
    return True


def append_answer(
    recorder: EpisodeRecorder,
    renderer: Renderer,
    action: Int32,
    new: Sequence[Message],
    history: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    max_context: int,
) -> bool:
    """Append what the environment answered to `action`; False, and nothing done, where it does not fit.

    Args:
        recorder: The episode so far.
        renderer: Renders the answer; where it cannot extend the context, a new segment is opened with all messages.
        action: The tokens answered to.
        new: The answer.
        history: All messages so far, `new` included.
        tools: OpenAI function schemas.
        max_context: Most tokens of a segment; one of them at least must be left to sample.
    """
    extension = renderer.extend(action, new)
    if extension is None:
        return append_prompt(recorder, renderer.start(history, tools), max_context)
    if recorder.context_length + len(extension) >= max_context:
        return False
    recorder.observe(extension)
    return True
