"""Model folders in transformers form: what identifies a model, and writing one with its tokenizer."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_OWN = ("config.json", "generation_config.json")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".safetensors.index.json", ".bin.index.json")
_LARGEST_SIDE_FILE = 64 << 20


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What must agree for weights of one model to be those of another.

    Attributes:
        architecture: Class name.
        parameters: Number of parameters.
        vocabulary: Tokens it knows.
        shapes: Hash over names and shapes of all weights.
        tokenizer: Hash of tokenizer.json, or "" where there is none.
    """

    architecture: str
    parameters: int
    vocabulary: int
    shapes: str
    tokenizer: str

    @classmethod
    def of(cls, module: torch.nn.Module, folder: Path) -> ModelIdentity:
        """Return the identity of a loaded model and its folder."""
        shapes = sorted(f"{name}{tuple(tensor.shape)}" for name, tensor in module.state_dict().items())
        tokenizer = folder / "tokenizer.json"
        config: Any = module.config
        return cls(
            architecture=type(module).__name__,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            vocabulary=int(config.get_text_config().vocab_size),
            shapes=_digest("\n".join(shapes).encode()),
            tokenizer=_digest(tokenizer.read_bytes()) if tokenizer.is_file() else "",
        )

    def __str__(self) -> str:
        tokenizer = f"tokenizer {self.tokenizer}" if self.tokenizer else "no tokenizer"
        return (
            f"{self.architecture} of {self.parameters:,} parameters (weights {self.shapes}), vocabulary "
            f"{self.vocabulary}, {tokenizer}"
        )


def write_model(module: torch.nn.Module, folder: Path, source: Path) -> None:
    """Write a model in transformers form, with tokenizer and chat template copied from the folder it came from."""
    model: Any = module
    with no_progress_bars():
        model.save_pretrained(folder)
    for path in sorted(source.iterdir()):
        weights = path.name.endswith(_WEIGHTS)
        if path.is_file() and path.name not in _OWN and not weights and path.stat().st_size <= _LARGEST_SIDE_FILE:
            shutil.copyfile(path, folder / path.name)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal, which belongs to the command that runs."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
