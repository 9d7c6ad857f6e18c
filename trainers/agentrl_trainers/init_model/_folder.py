"""A folder that appears whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentrl.errors import ConfigError


def check_free(output: Path, overwrite: bool) -> None:
    """Raise ConfigError where `output` is no folder, or holds something that may not be overwritten."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise ConfigError(f"{output} is not a folder; choose another path for the model")
    if not overwrite and output.is_dir() and any(output.iterdir()):
        raise ConfigError(f"{output} already holds files; choose another folder, or ask to overwrite it")


@contextmanager
def replacing(output: Path, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder that becomes `output` at the end; after an error nothing has changed.

    Raises:
        ConfigError: The disk is full or the place not writable, or `output` has been filled in the meantime.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as parent:
            made = Path(parent) / "new"
            made.mkdir()
            yield made
            check_free(output, overwrite)
            if output.is_dir():
                output.rename(Path(parent) / "old")
            made.rename(output)
    except OSError as error:
        raise ConfigError(f"cannot write the model to {output}: {error.strerror or error}") from error
