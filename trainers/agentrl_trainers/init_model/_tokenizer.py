"""A byte-level BPE tokenizer trained on an environment's text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

Template = Literal["text", "hermes"]

_PAD = "<|pad|>"
# Markers that are special tokens; the last ends an answer.
_SPECIAL: dict[Template, tuple[str, ...]] = {
    "text": (_PAD, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    "hermes": (_PAD, "<|im_start|>", "<|im_end|>"),
}
# Markers that are single tokens and stay in decoded text, where parsers read them.
_TAGS: dict[Template, tuple[str, ...]] = {
    "text": (),
    "hermes": (
        *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
        *("<think>", "</think>", "<tools>", "</tools>"),
    ),
}
# What merges may not cross: a word with the blank before and one sign after it (" door,"), a number, a run of signs,
# line breaks, blanks. Names of tools (`turn_left`) are words.
_WORDS = r" ?[\p{L}\p{M}_]+[.,;:!?]?| ?\p{N}{1,3}[.,;:!?]?| ?[^\s\p{L}\p{M}\p{N}_]+|\s*[\r\n]+|\s+(?!\S)|\s+"


def chat_template(template: Template) -> str:
    """Return the text of one of our chat templates."""
    return (resources.files(__package__) / f"{template}.jinja").read_text(encoding="utf-8")


def train_tokenizer(
    texts: Iterable[str], template: Template, *, vocab_size: int, max_context: int
) -> PreTrainedTokenizerFast:
    """Train a tokenizer that can encode any text, and the given kind of text in few tokens.

    Args:
        texts: Text of the kind that the policy will read and write.
        template: Chat template, whose markers become special tokens.
        vocab_size: Most entries; there are fewer where the text has fewer frequent words.
        max_context: Tokens of a conversation, noted in the tokenizer's configuration.
    """
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    special = _SPECIAL[template]
    texts = list(texts)
    core = _train([*texts, *_scaffold(template) * max(2, len(texts) // 50)], special, vocab_size - len(_TAGS[template]))
    core.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in _TAGS[template]])
    fast: Any = PreTrainedTokenizerFast  # its constructor carries no types
    tokenizer: PreTrainedTokenizerFast = fast(
        tokenizer_object=core, eos_token=special[-1], pad_token=_PAD, model_max_length=max_context
    )
    tokenizer.chat_template = chat_template(template)
    return tokenizer


def _scaffold(template: Template) -> list[str]:
    """Return the template's own words between its markers; every conversation repeats them."""
    from transformers.utils.chat_template_utils import render_jinja_template

    parameters = {"type": "object", "properties": {"key": {"type": "string", "description": ""}}, "required": ["key"]}
    tool = {"type": "function", "function": {"name": "", "description": "", "parameters": parameters}}
    messages: list[dict[str, Any]] = [{"role": role, "content": ""} for role in ("system", "user", "assistant", "tool")]
    messages[2]["tool_calls"] = [{"function": {"name": "", "arguments": {}}}]
    rendered = render_jinja_template([messages], tools=[tool], chat_template=chat_template(template))[0]
    markers = "|".join(re.escape(marker) for marker in (*_SPECIAL[template], *_TAGS[template]))
    return [text for text in re.split(markers, rendered[0]) if text.strip()]


def _train(texts: Iterable[str], special: tuple[str, ...], vocab_size: int) -> Tokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[AddedToken(marker, special=True, normalized=False) for marker in special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer=trainer)
    return core
