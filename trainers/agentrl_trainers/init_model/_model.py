"""A small policy made from nothing: configuration, weights and tokenizer as a transformers folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentrl.errors import ConfigError
from agentrl_trainers.init_model._folder import check_free, replacing
from agentrl_trainers.init_model._tokenizer import Template, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3Config

_SMALLEST_VOCABULARY = 300
"""256 bytes, the markers of a template, and room for a few words."""


@dataclass(frozen=True, slots=True)
class InitializedModel:
    """What `init_model` made.

    Attributes:
        path: The folder.
        parameters: Trainable numbers, tied ones counted once.
        vocabulary: Entries of the tokenizer.
    """

    path: Path
    parameters: int
    vocabulary: int


def init_model(
    output: Path,
    texts: Iterable[str],
    *,
    hidden: int = 128,
    layers: int = 4,
    heads: int = 4,
    kv_heads: int = 2,
    vocab_size: int = 1024,
    max_context: int = 2048,
    template: Template = "text",
    seed: int = 0,
    family: Literal["qwen3"] = "qwen3",
    overwrite: bool = False,
) -> InitializedModel:
    """Make a small model with random weights and a tokenizer trained on `texts`, and save them atomically.

    The same arguments give the same bytes. Weights are drawn with standard deviation 0.02; with tied embeddings a
    larger one saturates the first softmax and keeps the model from learning.

    Args:
        output: Folder to make, in the form that `AutoModelForCausalLM` and `AutoTokenizer` load.
        texts: Text of the environment the model is for (see `environment_texts`).
        hidden: Width; the feed-forward layers are three times as wide.
        layers: Transformer blocks.
        heads: Attention heads, a divisor of `hidden` by an even number.
        kv_heads: Key and value heads, a divisor of `heads`.
        vocab_size: Most entries of the tokenizer.
        max_context: Most tokens of a conversation.
        template: "text" for plain text actions, "hermes" for tool calls.
        seed: Seed of the weights.
        family: Architecture.
        overwrite: Replace the folder if it holds something.

    Raises:
        ConfigError: Sizes that do not fit together, no text, a folder that holds something, or a disk that is full.
    """
    output = Path(output)
    _check_sizes(hidden, layers, heads, kv_heads, vocab_size, max_context)
    if template not in ("text", "hermes"):
        raise ConfigError(f"there is no chat template {template!r}; expected text or hermes")
    if family != "qwen3":
        raise ConfigError(f"there is no model family {family!r}; expected qwen3")
    check_free(output, overwrite)
    texts = list(texts)
    if not any(text.strip() for text in texts):
        raise ConfigError(
            "there is no text to train a tokenizer on; pass text of the environment, e.g. from environment_texts"
        )
    tokenizer = train_tokenizer(texts, template, vocab_size=vocab_size, max_context=max_context)
    config = _config(tokenizer, hidden, layers, heads, kv_heads, max_context)
    with replacing(output, overwrite) as folder:
        parameters = _save(folder, config, tokenizer, seed)
    return InitializedModel(output, parameters, len(tokenizer))


def _check_sizes(hidden: int, layers: int, heads: int, kv_heads: int, vocab_size: int, max_context: int) -> None:
    for name, value in {"hidden": hidden, "layers": layers, "heads": heads, "kv_heads": kv_heads}.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; expected at least 1")
    if hidden % (2 * heads):
        raise ConfigError(
            f"hidden = {hidden} does not divide into {heads} heads of even width; make it a multiple of {2 * heads}"
        )
    if heads % kv_heads:
        raise ConfigError(f"heads = {heads} is no multiple of kv_heads = {kv_heads}")
    if vocab_size < _SMALLEST_VOCABULARY:
        raise ConfigError(
            f"vocab_size = {vocab_size} is too small; bytes and markers alone need {_SMALLEST_VOCABULARY}"
        )
    if max_context < 16:
        raise ConfigError(f"max_context = {max_context} tokens holds no conversation; expected at least 16")


def _config(
    tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int, heads: int, kv_heads: int, max_context: int
) -> Qwen3Config:
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads,
        max_position_embeddings=max_context,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        initializer_range=0.02,
        tie_word_embeddings=True,
        dtype="float32",
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _save(folder: Path, config: Qwen3Config, tokenizer: PreTrainedTokenizerFast, seed: int) -> int:
    import torch
    from transformers import Qwen3ForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    with _no_progress_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    bars: Any = logging  # its functions carry no types
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
