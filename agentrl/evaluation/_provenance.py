"""What is needed to repeat an evaluation."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

PACKAGES = ("agentrl", "torch", "transformers", "tokenizers", "minigrid", "gymnasium", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def model_hash(folder: str | Path) -> str | None:
    """Return the first 12 hex digits of the SHA-256 over the weights of a model folder, or None where it has none."""
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]


def command_line(arguments: Sequence[str] | None = None) -> str:
    """Return the command that started this process, as one would type it."""
    program, *rest = sys.argv if arguments is None else arguments
    return shlex.join([Path(program).name, *rest])
