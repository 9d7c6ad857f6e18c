"""Opening the renderer of a tokenizer folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentrl.errors import ConfigError, PrerequisiteError
from agentrl.rendering._base import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RendererKind = Literal["auto", "hermes", "text"]


def load_renderer(tokenizer_folder: Path, kind: RendererKind = "auto") -> Renderer:
    """Open the renderer of a folder in transformers form.

    Args:
        tokenizer_folder: Holds `tokenizer.json` and a chat template. Nothing is downloaded.
        kind: "hermes": tool calls by chat template; "text": plain text actions; "auto": hermes where the chat template
            knows `<tool_call>`, else text.

    Raises:
        ConfigError: The folder holds no fast tokenizer or no chat template, or its template has another grammar.
        PrerequisiteError: transformers is not installed.
    """
    from agentrl.rendering._hermes import HermesRenderer
    from agentrl.rendering._text import TextRenderer

    tokenizer = _load_tokenizer(Path(tokenizer_folder))
    if kind == "auto":
        kind = "hermes" if "<tool_call>" in str(tokenizer.chat_template) else "text"
    if kind == "hermes":
        return HermesRenderer(tokenizer)
    if kind == "text":
        return TextRenderer(tokenizer)
    raise ConfigError(f"there is no renderer {kind!r}; expected auto, hermes or text")


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    if not (folder / "tokenizer.json").is_file():
        raise ConfigError(
            f"{folder} holds no tokenizer.json; expected the folder of a model in transformers form. "
            "Make a small one with `agentrl init-model`, or download a model into it"
        )
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise PrerequisiteError("rendering needs the package transformers", "pip install 'agentrl[train]'") from error
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises plain Exception for a damaged file
        raise ConfigError(f"the tokenizer in {folder} cannot be read: {error}") from error
    if not tokenizer.is_fast:
        raise ConfigError(f"the tokenizer in {folder} is none of the tokenizers library, which rendering needs")
    if not isinstance(tokenizer.chat_template, str):
        raise ConfigError(
            f"the tokenizer in {folder} has no chat template (or several); expected one in chat_template.jinja. "
            "Use an instruction-tuned model, or add the template of its family"
        )
    return tokenizer
