"""The run folder: what lies where, and who may write to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentrl.config import RunConfig
from agentrl.errors import ConfigError
from agentrl.store import STORE_NAME


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run.

    Attributes:
        path: The folder itself, `output` of the run file.
    """

    path: Path

    @property
    def store(self) -> Path:
        """The trajectory store (SQLite)."""
        return self.path / STORE_NAME

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, one folder each, named by step."""
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """Return the folder of the checkpoint after `step` optimizer steps."""
        return self.checkpoints / f"step-{step:06d}"


def claim_folder(config: RunConfig, *, resume: bool) -> RunFolder:
    """Make the run folder.

    Raises:
        ConfigError: The folder holds a run already and `resume` is False, or holds none and `resume` is True.
    """
    folder = RunFolder(config.output)
    exists = folder.store.exists()
    if exists and not resume:
        raise ConfigError(
            f"{folder.path} already holds a run; go on with it by --resume, or choose another folder by --output"
        )
    if resume and not exists:
        raise ConfigError(f"--resume: {folder.path} holds no run to go on with; start it without --resume")
    try:
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"output = {str(folder.path)!r}: the folder cannot be made ({error}); choose another"
        ) from error
    return folder
