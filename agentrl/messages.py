"""Chat messages as every part of AgentRL passes them: the OpenAI chat shape as frozen dataclasses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the policy asked for, as parsed from its tokens.

    Attributes:
        name: Tool name as written by the policy; may name no tool that exists.
        arguments: Parsed arguments, or None where they could not be parsed.
        id: Identifier that the answering tool message repeats; unique within an episode.
        error: Why the call could not be parsed, or None.
    """

    name: str
    arguments: dict[str, Any] | None
    id: str = ""
    error: str | None = None

    def to_openai(self) -> dict[str, Any]:
        """Return the call in the OpenAI chat form, arguments as a JSON string."""
        arguments = json.dumps(self.arguments or {}, ensure_ascii=False)
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": arguments}}


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message.

    Attributes:
        role: Who speaks.
        content: The text; for a tool message, the tool's answer.
        tool_calls: Calls of an assistant message, in order.
        tool_call_id: For a tool message, the call that it answers.
        name: For a tool message, the tool's name.
        reasoning: Text the assistant put between reasoning tags, or None.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None

    def to_openai(self) -> dict[str, Any]:
        """Return the message in the OpenAI chat form."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [call.to_openai() for call in self.tool_calls]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            message["name"] = self.name
        if self.reasoning is not None:
            message["reasoning_content"] = self.reasoning
        return message
