"""The contract of a renderer: messages to tokens and sampled tokens to a message, never text back to tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentrl.messages import Message
from agentrl.trajectory._types import Int32


@dataclass(frozen=True, slots=True)
class ParsedAction:
    """An assistant message parsed from sampled tokens.

    Attributes:
        message: The message; malformed calls are kept in `message.tool_calls` with their `error`.
        text: All sampled tokens decoded, special tokens left out; for people and logs.
        complete: Whether a stop token ended it.
    """

    message: Message
    text: str
    complete: bool


class Renderer(Protocol):
    """Chat template, tool-call grammar and reasoning tags of a model family."""

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Tokens that end an assistant message; the sampled stop token belongs to the action."""
        ...

    def start(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> Int32:
        """Return the tokens of a fresh context, ending where the policy begins to write.

        Args:
            messages: System, user and earlier messages.
            tools: OpenAI function schemas.
        """
        ...

    def extend(self, action: Int32, messages: Sequence[Message]) -> Int32 | None:
        """Return the tokens to append after `action` for new messages, ending where the policy writes again.

        Only the new messages are rendered. Where `action` lacks its stop token (cut by a limit), the tokens begin by
        closing it. None means that this template cannot be extended without rewriting the past: open a new segment.
        """
        ...

    def parse(self, action: Int32) -> ParsedAction:
        """Parse sampled tokens; never raises on what a policy may write."""
        ...

    def demonstrate(self, message: Message) -> Int32:
        """Return the tokens a policy would sample to say `message`, its stop token included.

        For expert demonstrations only: the tokens of a policy are never made this way.
        """
        ...

    def decode(self, tokens: Int32) -> str:
        """Return tokens as text for people, special tokens included."""
        ...
