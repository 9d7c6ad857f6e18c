"""The renderer of the Qwen and Hermes families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentrl.errors import ConfigError
from agentrl.messages import Message, ToolCall
from agentrl.rendering._base import ParsedAction
from agentrl.rendering._calls import CALL, CALL_END, THINK, THINK_END, split_calls, split_reasoning
from agentrl.rendering._renderer import TemplateRenderer
from agentrl.trajectory._types import Int32

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class HermesRenderer(TemplateRenderer):
    """The Qwen and Hermes families: ChatML, tools in the system message, calls as JSON between `<tool_call>` tags."""

    _markers = (CALL, CALL_END, THINK, THINK_END)

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        self._check_grammar()

    def parse(self, action: Int32) -> ParsedAction:
        """Parse sampled tokens into reasoning, content and tool calls; never raises.

        A malformed call is kept in `tool_calls` with its `error`, and its text in the content. Call ids are left empty:
        they must be unique within an episode, which only the episode can see to.
        """
        text, complete = self._said(action)
        reasoning, rest = split_reasoning(text, self._opened)
        content, calls = split_calls(rest)
        return ParsedAction(Message("assistant", content, calls, reasoning=reasoning), text, complete)

    def _check_grammar(self) -> None:
        """Refuse at once a template whose tool calls this would not understand (XML or Python forms, or none)."""
        call = ToolCall("look_up", {"words": "a b", "limit": 3})
        written = self.demonstrate(Message("assistant", "", (call,)))
        if self.parse(written).message.tool_calls != (call,):
            raise ConfigError(
                f"the chat template of {self._name} writes tool calls as {self.decode(written)!r}, which is not the "
                'hermes form <tool_call>{"name": …, "arguments": {…}}</tool_call>. '
                'Use another model, or renderer = "text" for environments without tools'
            )
