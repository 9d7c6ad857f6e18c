"""Text to tokens in which only the chat template can write special tokens, never a message.

A tool's answer may hold the text `<|im_end|>`. A tokenizer turns that text into the token that ends a message, and
whoever controls the tool then controls the conversation. Here the text of messages goes through the same tokenizer
without its added tokens; the added tokens of the template's own text are found separately.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PRIVATE_USE = range(0xE000, 0xF8FF)


class Encoder:
    """Encodes template text and message text with one fast tokenizer.

    Attributes:
        added: Id of every added token (special or not) by its text.
        special: Ids of the special tokens among them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        from tokenizers import Tokenizer

        state = json.loads(tokenizer.to_str())
        tokens = state["added_tokens"]
        self.added: dict[str, int] = {token["content"]: token["id"] for token in tokens}
        self.special = frozenset(int(token["id"]) for token in tokens if token["special"])
        state.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
        self._plain = Tokenizer.from_str(json.dumps(state))
        self._full = tokenizer
        # The longest match wins, as in the tokenizers library. A token may swallow the blanks beside it.
        alternatives = [
            (r"\s*" if token["lstrip"] else "") + re.escape(token["content"]) + (r"\s*" if token["rstrip"] else "")
            for token in sorted(tokens, key=lambda token: len(token["content"]), reverse=True)
        ]
        self._split = re.compile(f"({'|'.join(alternatives)})") if alternatives else None
        self._literal = re.compile("|".join(re.escape(text) for text in self.added)) if alternatives else None

    def text(self, text: str) -> list[int]:
        """Return the tokens of text that may not contain special tokens, whatever it says."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def template(self, text: str, guard: str = "") -> list[int]:
        """Return the tokens of rendered template text; `guard` is the character that `protect` put into messages."""
        tokens: list[int] = []
        for piece in self.pieces(text):
            tokens += [piece] if isinstance(piece, int) else self.text(piece.replace(guard, "") if guard else piece)
        return tokens

    def pieces(self, text: str) -> Iterator[int | str]:
        """Yield the added tokens of template text as ids and what lies between them as text."""
        for index, piece in enumerate(self._split.split(text) if self._split else [text]):
            if not piece:
                continue
            yield (self.added[piece] if piece in self.added else self.added[piece.strip()]) if index % 2 else piece

    def protect(self, value: Any) -> tuple[Any, str]:
        """Return messages or tools in which no text reads as an added token, and the character that prevents it.

        The character stands inside each such text and is unused otherwise; `template` takes it out again. It is ""
        where nothing had to be protected.
        """
        texts = list(_strings(value))
        literal = self._literal
        if literal is None or not any(literal.search(text) for text in texts):
            return value, ""
        used = frozenset().union(*texts)
        guard = next(char for char in map(chr, _PRIVATE_USE) if char not in used)

        def interrupt(text: str) -> str:
            if literal.search(text):
                # After every first character of a token, so that overlapping occurrences break as well.
                for start in {token[0] for token in self.added}:
                    text = text.replace(start, start + guard)
            return text

        return _map_strings(value, interrupt), guard

    def decode(self, tokens: list[int], special: bool = True) -> str:
        """Return tokens as text; bytes that are no UTF-8 become U+FFFD, ids that no token has become nothing."""
        return str(self._full.decode(tokens, skip_special_tokens=not special))


def valid_unicode(text: str) -> str:
    """Return text with lone surrogates (a JSON escape can make them) replaced, so that it can be encoded."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        # Keys of chat messages are the template's own words; those of arguments and schemas are data like any other.
        return {_map_strings(key, change): _map_strings(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_strings(item, change) for item in value]
    return value


def sanitise(value: Any) -> Any:
    """Return a JSON value whose every string is valid Unicode."""
    return _map_strings(value, valid_unicode)
