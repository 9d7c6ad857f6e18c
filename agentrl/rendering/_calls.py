"""The Hermes grammar of tool calls and reasoning, read leniently: a policy in training writes anything."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from agentrl.messages import ToolCall
from agentrl.rendering._encoding import sanitise

CALL, CALL_END = "<tool_call>", "</tool_call>"
THINK, THINK_END = "<think>", "</think>"
_FORM = 'write <tool_call>{"name": "tool", "arguments": {"key": "value"}}</tool_call>'
_DEEPEST = 32


def split_reasoning(text: str, opened: bool = False) -> tuple[str | None, str]:
    """Return (reasoning or None, the rest).

    A thought that is never closed is all reasoning. One that is closed without having been opened began with the text.

    Args:
        text: Decoded action.
        opened: Whether the prompt already opened a thought.
    """
    before, closed, after = text.partition(THINK_END)
    if not closed and not opened and not text.lstrip().startswith(THINK):
        return None, text
    if closed and not opened and CALL in before and THINK not in before:
        return None, text  # the tag is in a call's argument or said after one
    return before.replace(THINK, "", 1).strip(), after.lstrip("\n")


def split_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """Return the content and the tool calls of an assistant message's text.

    Content is what stands outside well-formed calls, verbatim where there are none; a malformed call stays in it, as
    the text that was really said. A call ends where its JSON ends, so arguments may contain the closing tag.
    """
    if CALL not in text:
        return text, ()
    content: list[str] = []
    calls: list[ToolCall] = []
    position = 0
    while (start := text.find(CALL, position)) >= 0:
        content.append(text[position:start])
        call, position = _call(text, start + len(CALL))
        calls.append(call)
        if call.error is not None:
            content.append(text[start:position])
    content.append(text[position:])
    return "".join(content).strip(), tuple(calls)


def _call(text: str, start: int) -> tuple[ToolCall, int]:
    """Return the call whose body begins at `start`, and where the text goes on after it."""
    body = len(text) - len(text[start:].lstrip())
    try:
        value, end = _DECODER.raw_decode(text, body)
        value = _usable(value)
    except (ValueError, RecursionError) as error:
        end, next_start = text.find(CALL_END, start), text.find(CALL, start)
        cut = end < 0 and next_start < 0
        if end < 0 or 0 <= next_start < end:
            end = next_start if next_start >= 0 else len(text)
        else:
            end += len(CALL_END)
        return ToolCall("", None, error=_json_error(error, body, cut)), end
    rest = len(text) - len(text[end:].lstrip())
    if text.startswith(CALL_END, rest):
        end = rest + len(CALL_END)
    elif rest < len(text) and not text.startswith(CALL, rest):
        close = text.find(CALL_END, rest)
        end = close + len(CALL_END) if close >= 0 else len(text)
        return ToolCall(_name(value), None, error=f"there is text after the call's JSON object; {_FORM}"), end
    return _checked(value), end


def _checked(value: Any) -> ToolCall:
    if not isinstance(value, dict):
        return ToolCall("", None, error=f"a call must be a JSON object, not {_kind(value)}; {_FORM}")
    name = _name(value)
    if not name:
        return ToolCall("", None, error=f'the call has no "name"; {_FORM}')
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        # Some models write the arguments as OpenAI sends them: a JSON object inside a string.
        try:
            arguments = _usable(_DECODER.decode(arguments)) if arguments.strip() else {}
        except (ValueError, RecursionError) as error:
            return ToolCall(name, None, error=f'"arguments" is a string that holds no JSON object: {error}; {_FORM}')
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        return ToolCall(name, None, error=f'"arguments" must be a JSON object, not {_kind(arguments)}; {_FORM}')
    return ToolCall(name, arguments)


def _name(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    return name.strip() if isinstance(name, str) else ""


def _kind(value: Any) -> str:
    return {list: "a list", str: "a string", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def _json_error(error: Exception, body: int, cut: bool) -> str:
    if cut:
        return f"the call was cut off before its end; {_FORM}, and be brief"
    if isinstance(error, json.JSONDecodeError):
        return f"the call is not valid JSON: {error.msg} at character {max(0, error.pos - body)}; {_FORM}"
    what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return f"the call is not valid JSON: {what}; {_FORM}"


def _usable(value: Any) -> Any:
    """Return a decoded value that every later step can encode again: valid Unicode, and no deeper than _DEEPEST."""
    level = [value]
    for _ in range(_DEEPEST):
        nested = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list)))
        level = [child for children in nested for child in children]
        if not level:
            return sanitise(value)
    raise RecursionError


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def _integer(digits: str) -> int:
    # What arguments are stored in holds 64 bits.
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError(f"the number {digits[:20]}… is too large")
    return int(digits)


def _decimal(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


# Not strict: a raw line break inside a string is the commonest slip, and its meaning is plain.
_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse, parse_int=_integer, parse_float=_decimal)
