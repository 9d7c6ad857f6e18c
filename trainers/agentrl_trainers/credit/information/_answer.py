"""The tokens of a true answer as the policy would write it, and where in them the answer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agentrl.errors import ConfigError, PrerequisiteError, TaskError

PREFIX = "<think>\nNow there's enough information to answer\n</think>\n<answer>\n"
"""What the policy is made to say before the answer: the text of IGPO's authors."""
SUFFIX = "\n</answer><|im_end|>"
"""What follows the answer. It is not scored, but decides how the answer's last characters are tokenised."""

OffsetEncoder = Callable[[str], tuple[Sequence[int], Sequence[tuple[int, int]]]]
"""`f(text) -> (ids, offsets)`: tokens of a text and, of each, its first character and the one after its last."""


@dataclass(frozen=True)
class AnswerTokens:
    """What is appended to a context to be scored.

    Attributes:
        tokens: Prefix and answer, up to the answer's last token.
        start: Index of the answer's first token.
    """

    tokens: npt.NDArray[np.int32]
    start: int


def answer_tokens(encode: OffsetEncoder, answer: str, *, prefix: str = PREFIX, suffix: str = SUFFIX) -> AnswerTokens:
    """Return the tokens of prefix + answer + suffix, tokenised together, cut after the answer.

    The answer's tokens are those that hold any of its characters: a token that merges the end of the prefix with the
    beginning of the answer is one of them. Counting the tokens of the parts instead would miss such merges.

    Args:
        encode: From `offset_encoder`.
        answer: The true answer.
        prefix: Text before it.
        suffix: Text after it.

    Raises:
        TaskError: The answer is empty, or the tokenizer makes nothing of it.
    """
    if not answer:
        raise TaskError("a true answer is empty, so nothing of it can be scored; give the task another answer")
    ids, offsets = encode(prefix + answer + suffix)
    begin, end = len(prefix), len(prefix) + len(answer)
    inside = [index for index, (first, after) in enumerate(offsets) if first < end and after > begin]
    if not inside:
        raise TaskError(f"the tokenizer has no token for the answer {answer!r}")
    return AnswerTokens(np.array(ids[: inside[-1] + 1], dtype=np.int32), inside[0])


def offset_encoder(tokenizer_folder: Path) -> OffsetEncoder:
    """Return the encoder of the `tokenizer.json` in a model's folder. Nothing is downloaded.

    Raises:
        ConfigError: The folder holds none, or it cannot be read.
        PrerequisiteError: tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise PrerequisiteError(
            "scoring answers needs the package tokenizers", "pip install 'agentrl[train]'"
        ) from error
    file = Path(tokenizer_folder) / "tokenizer.json"
    if not file.is_file():
        raise ConfigError(f"{tokenizer_folder} holds no tokenizer.json; expected the folder of the run's model")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the tokenizers library raises plain Exception for a damaged file
        raise ConfigError(f"{file} cannot be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    return encode
