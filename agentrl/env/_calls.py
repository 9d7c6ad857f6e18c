"""Tool calls that cannot be carried out, and results as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from agentrl.messages import ToolCall


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not carried out: its kind, as in ToolOutcome.error, and the text the agent reads."""

    kind: str
    text: str


def refuse(call: ToolCall, offered: Sequence[str]) -> Refusal | None:
    """Return why a call cannot be carried out, or None where it can be tried."""
    if not offered:
        return Refusal("unknown_tool", "Error: there are no tools here; answer in plain text.")
    if call.error is not None or call.arguments is None:
        reason = call.error or "its arguments are no JSON object"
        return Refusal("malformed", f"Error: the call could not be read: {reason}.")
    if call.name not in offered:
        near = get_close_matches(call.name, offered, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return Refusal("unknown_tool", f"Error: there is no tool {call.name!r}.{hint} Tools: {', '.join(offered)}.")
    return None


def answer_text(value: Any) -> str:
    """Return what `act` or `reply` gave as text.

    Raises:
        TypeError: It is no text.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r}; expected text or a Step")
    return value


def result_text(value: Any) -> str:
    """Return a tool's result as text: text as it is, None as "ok", anything else as JSON.

    Raises:
        TypeError: It has no JSON form.
    """
    if value is None:
        return "ok"
    if isinstance(value, str):
        return value
    try:
        return to_json(value).decode()
    except PydanticSerializationError as error:
        raise TypeError(f"{value!r} ({error})") from error
