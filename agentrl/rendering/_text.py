"""The renderer of plain text actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentrl.errors import ConfigError
from agentrl.messages import Message
from agentrl.rendering._base import ParsedAction
from agentrl.rendering._renderer import TemplateRenderer
from agentrl.trajectory._types import Int32


class TextRenderer(TemplateRenderer):
    """Plain text actions: the whole text is the action. No tools, no reasoning; few tokens around each message."""

    def start(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> Int32:
        """Return the tokens of a fresh context, ending where the policy begins to write.

        Raises:
            ConfigError: There are tools, which a text action cannot call.
        """
        if tools:
            raise ConfigError(
                f"the environment offers {len(tools)} tools and the text renderer shows none: set renderer = "
                '"hermes" in [rollout], or open the environment with text actions'
            )
        return super().start(messages)

    def parse(self, action: Int32) -> ParsedAction:
        """Return the decoded action as the message's content; never raises."""
        text, complete = self._said(action)
        return ParsedAction(Message("assistant", text), text, complete)
