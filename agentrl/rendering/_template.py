"""A chat template taken apart: what it writes around new messages, without rendering the past again.

The tokens that follow an action are the difference of two renderings of a short made-up conversation, with and without
the new messages. Their constant parts are found once for each sequence of roles and kept, so that a turn costs one
encoding of the new text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentrl.errors import ConfigError
from agentrl.messages import Message
from agentrl.rendering._encoding import Encoder, sanitise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_QUESTION = "What is next?"
_ANSWER = "This is what I say."
_THOUGHT = "These are my thoughts."
_FIELDS = ("content", "name", "tool_call_id")
_SENTINEL = re.compile("\uf0f0([0-9]+)\uf0f1([a-z_]+)\uf0f2")
# Content on which a template that trims, escapes or branches would show itself.
_PROBES = ("", " \n two  \"words\" & 'more' <tag> \\n é\t\n ", "one line", '{"a": [1, null]}\n')


@dataclass(frozen=True, slots=True)
class _Field:
    """A place that the text of a new message fills."""

    message: int
    name: str


@dataclass(frozen=True, slots=True)
class _Run:
    """Literals and fields between two special tokens; encoded as one text, as tokens may span them."""

    pieces: tuple[str | _Field, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the template writes after an assistant message's text, for one sequence of new messages' roles.

    Attributes:
        parts: Ids of constant parts, and runs that hold fields.
        constant: Whether that is all; False where the template changes the messages' text (trims or escapes it).
        keeps_reasoning: Whether the assistant message before keeps its reasoning.
    """

    parts: tuple[tuple[int, ...] | _Run, ...]
    constant: bool
    keeps_reasoning: bool


class ChatTemplate:
    """The chat template of a tokenizer folder, for messages as AgentRL passes them.

    Attributes:
        encoder: The encoder of its tokenizer.
        opening: Text with which an assistant message begins, as rendered by the generation prompt.
        close: Id of the token that ends an assistant message.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.encoder = Encoder(tokenizer.backend_tokenizer)
        question = [{"role": "user", "content": _QUESTION}]
        self._question = self.render(question, generate=True)
        self.opening = self._question.removeprefix(self.render(question))
        said = self.render([*question, {"role": "assistant", "content": _ANSWER}])
        after = said.rpartition(_ANSWER)[2]
        close = next((piece for piece in self.encoder.pieces(after) if isinstance(piece, int)), None)
        if close is None or not self.opening or _ANSWER not in said:
            raise ConfigError(
                f"the chat template of {tokenizer.name_or_path} ends an assistant message with {after!r}; expected a "
                "special token that the policy can sample to end its turn. Use a folder with a chat model's template"
            )
        if self.encoder.template(said) != tokenizer.backend_tokenizer.encode(said, add_special_tokens=False).ids:
            raise ConfigError(
                f"the tokenizer of {tokenizer.name_or_path} encodes a text otherwise at its start than after a special "
                "token, so that new messages cannot be encoded apart. Use a model with a byte-level tokenizer"
            )
        self.close = close
        self._frame = functools.lru_cache(maxsize=256)(self._make_frame)

    def render(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = (), generate: bool = False
    ) -> str:
        """Return messages in transformers' chat form as text.

        Raises:
            ConfigError: The template refuses them, e.g. for the order of their roles.
        """
        from jinja2 import TemplateError

        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages), tools=list(tools) or None, tokenize=False, add_generation_prompt=generate
                )
            )
        except (TemplateError, TypeError) as error:  # a filter raises TypeError for a field the message lacks
            roles = ", ".join(str(message["role"]) for message in messages)
            raise ConfigError(
                f"the chat template of {self._tokenizer.name_or_path} refuses messages of the roles {roles}: {error}"
            ) from error

    def start(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """Return the tokens of a whole conversation up to where the policy writes."""
        chat, guard = self.encoder.protect(sanitise([[chat_form(message) for message in messages], list(tools)]))
        return self.encoder.template(self.render(chat[0], chat[1], generate=True), guard)

    def after(self, messages: Sequence[Message], reasoned: bool) -> list[int] | None:
        """Return the tokens after the text of an assistant message up to where the policy writes again.

        The first of them is `close`. None where the template would rewrite what came before.

        Args:
            messages: The new messages.
            reasoned: Whether the assistant message holds reasoning.
        """
        frame = self._frame(tuple((m.role, m.name is not None, m.tool_call_id is not None) for m in messages))
        if frame is None or (reasoned and not frame.keeps_reasoning):
            return None
        chat = sanitise([chat_form(message) for message in messages])
        if not frame.constant or any("tool_calls" in m or "reasoning_content" in m for m in chat):
            protected, guard = self.encoder.protect(chat)
            text = self._suffix({"role": "assistant", "content": _ANSWER}, protected)
            return None if text is None else self.encoder.template(text, guard)
        tokens: list[int] = []
        for part in frame.parts:
            if isinstance(part, _Run):
                filled = (p if isinstance(p, str) else chat[p.message][p.name] for p in part.pieces)
                tokens += self.encoder.text("".join(filled))
            else:
                tokens += part
        return tokens

    def say(self, message: Message) -> list[int]:
        """Return the tokens that a policy would sample to say an assistant message, `close` included."""
        chat, guard = self.encoder.protect(sanitise(chat_form(message)))
        question = {"role": "user", "content": _QUESTION}
        if message.reasoning is None:
            # With a message after it: a template may put an empty thought into the last message alone.
            answer = {"role": "user", "content": _ANSWER}
            if "tool_calls" in chat:
                call = chat["tool_calls"][0]
                answer |= {"role": "tool", "name": call["function"]["name"], "tool_call_id": call["id"]}
            text = self.render([question, chat, answer])
        else:
            text = self.render([question, chat])
        tokens = self.encoder.template(text.removeprefix(self._question), guard)
        return tokens[: tokens.index(self.close) + 1]

    def _suffix(self, assistant: dict[str, Any], new: Sequence[dict[str, Any]]) -> str | None:
        """Return what the template writes after _ANSWER, or None where it does not keep what came before."""
        text = self.render([{"role": "user", "content": _QUESTION}, assistant, *new], generate=True)
        if not text.startswith(self._question):
            return None
        said, _, suffix = text[len(self._question) :].partition(_ANSWER)
        kept = _THOUGHT in said if _THOUGHT in assistant.get("reasoning_content", assistant["content"]) else not said
        return suffix if kept else None

    def _make_frame(self, roles: tuple[tuple[str, bool, bool], ...]) -> _Frame | None:
        chat = [
            {"role": role} | {name: f"\uf0f0{index}\uf0f1{name}\uf0f2" for name in _FIELDS if present[name]}
            for index, (role, has_name, has_id) in enumerate(roles)
            for present in [{"content": True, "name": has_name, "tool_call_id": has_id}]
        ]
        plain = {"role": "assistant", "content": _ANSWER}
        suffix = self._suffix(plain, chat)
        if suffix is None:
            return None
        in_text = {"role": "assistant", "content": f"<think>\n{_THOUGHT}\n</think>\n\n{_ANSWER}"}
        apart = plain | {"reasoning_content": _THOUGHT}
        reads_field = _THOUGHT in self.render([{"role": "user", "content": _QUESTION}, apart])
        keeps_reasoning = self._suffix(in_text, chat) == suffix and (
            not reads_field or self._suffix(apart, chat) == suffix
        )
        constant = all(self._fills(suffix, chat, probe) for probe in _PROBES)
        return _Frame(parts=tuple(self._parts(suffix)), constant=constant, keeps_reasoning=keeps_reasoning)

    def _fills(self, suffix: str, chat: Sequence[dict[str, Any]], probe: str) -> bool:
        """Whether messages that say `probe` are written by putting their text into the places found in `suffix`."""
        filled = [
            {key: text if key == "role" else f"{probe}{key}{probe}" if probe else "" for key, text in message.items()}
            for message in chat
        ]
        expected = _SENTINEL.sub(lambda match: str(filled[int(match[1])][match[2]]), suffix)
        return self._suffix({"role": "assistant", "content": _ANSWER}, filled) == expected

    def _parts(self, suffix: str) -> Iterator[tuple[int, ...] | _Run]:
        for piece in self.encoder.pieces(suffix):
            if isinstance(piece, int):
                yield (piece,)
                continue
            found = _SENTINEL.split(piece)
            run: list[str | _Field] = [found[0]]
            for index in range(1, len(found), 3):
                run += [_Field(int(found[index]), found[index + 1]), found[index + 2]]
            yield _Run(tuple(run)) if len(run) > 1 else tuple(self.encoder.text(piece))


def chat_form(message: Message) -> dict[str, Any]:
    """Return a message in the form that chat templates read: arguments as objects.

    A call that could not be parsed is left out: its text is still part of the content.
    """
    chat: dict[str, Any] = {"role": message.role, "content": message.content}
    calls = [call for call in message.tool_calls if call.error is None]
    if calls:
        chat["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or {}}}
            for call in calls
        ]
    if message.tool_call_id is not None:
        chat["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        chat["name"] = message.name
    if message.reasoning is not None:
        chat["reasoning_content"] = message.reasoning
    return chat
