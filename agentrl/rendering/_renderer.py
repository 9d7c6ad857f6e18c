"""What all renderers over a chat template share: everything but the meaning of an action's text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from agentrl.messages import Message
from agentrl.rendering._calls import THINK, THINK_END
from agentrl.rendering._template import ChatTemplate
from agentrl.trajectory._types import Int32

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TemplateRenderer:
    """Renders with a tokenizer folder's chat template; a subclass says what an action's text means.

    `_markers` are the tags that stay in decoded actions even where the tokenizer calls them special.
    """

    _markers: tuple[str, ...] = ()

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._template = ChatTemplate(tokenizer)
        self._encoder = self._template.encoder
        self._name = str(tokenizer.name_or_path)
        end = tokenizer.eos_token_id
        close = self._template.close
        self._stops = (close,) if end is None or end == close else (close, int(end))
        kept = {self._encoder.added.get(marker) for marker in self._markers}
        self._unspoken = self._encoder.special - kept
        self._thoughts = {self._encoder.added[tag] for tag in (THINK, THINK_END) if tag in self._encoder.added}
        self._opened = self._template.opening.rstrip().endswith(THINK)

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """The template's own end of an assistant message, and the tokenizer's end of text where it is another."""
        return self._stops

    def start(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> Int32:
        """Return the tokens of a fresh context, ending where the policy begins to write."""
        return np.asarray(self._template.start(messages, tools), dtype=np.int32)

    def extend(self, action: Int32, messages: Sequence[Message]) -> Int32 | None:
        """Return the tokens to append after `action` for new messages.

        None where the template would take back what was said: Qwen3's drops the reasoning of earlier answers at each
        user message, though not at tool messages. It is decided by this action alone.
        """
        tokens = self._template.after(messages, reasoned=self._reasons(action))
        if tokens is None:
            return None
        closed = len(action) > 0 and int(action[-1]) == self._template.close
        return np.asarray(tokens[1:] if closed else tokens, dtype=np.int32)

    def demonstrate(self, message: Message) -> Int32:
        """Return the tokens a policy would sample to say `message`, its stop token included."""
        return np.asarray(self._template.say(message), dtype=np.int32)

    def decode(self, tokens: Int32) -> str:
        """Return tokens as text for people, special tokens included."""
        return self._encoder.decode(np.asarray(tokens).tolist())

    def _said(self, action: Int32) -> tuple[str, bool]:
        """Return an action's text without special tokens, and whether a stop token ended it."""
        tokens = np.asarray(action).tolist()
        complete = bool(tokens) and tokens[-1] in self._stops
        return self._encoder.decode([token for token in tokens if token not in self._unspoken]), complete

    def _reasons(self, action: Int32) -> bool:
        if self._opened:
            return True
        tokens = np.asarray(action).tolist()
        if not self._thoughts.isdisjoint(tokens):
            return True
        # The tags can be written in other tokens than their own, or the tokenizer has none for them.
        text = self._encoder.decode(tokens)
        return THINK in text or THINK_END in text
