"""From an exception to what the user sees: one message, one exit code, a traceback only where asked for."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator

import click

from agentrl.errors import AgentRLError, ConfigError, StoreError, TaskError

_MENDABLE = {
    errno.ENOSPC: "the disk is full; free some space and go on with --resume",
    errno.EDQUOT: "the disk quota is used up; free some space and go on with --resume",
    errno.EFBIG: "a file has reached the largest size allowed here; raise the limit and go on with --resume",
    errno.EACCES: "permission denied; write elsewhere or change the permissions",
    errno.EROFS: "the file system is read-only; write elsewhere, e.g. with --output",
}


class Failure(click.ClickException):
    """A failure that is nobody's typing mistake, as the command line shows it.

    Args:
        message: What to say.
        cause: Shown with its traceback where that was asked for.
    """

    exit_code = 1
    label = "Error: "

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.cause = cause

    def show(self, file: object = None) -> None:
        """Write the message to standard error, in red where that is a terminal."""
        if self.cause is not None:
            click.echo("".join(traceback.format_exception(self.cause)), err=True, nl=False)
        click.echo(click.style(self.label, fg="red", bold=True) + click.style(self.message, fg="red"), err=True)


class Mendable(Failure):
    """A failure that the user can mend before trying again: a wrong value, a missing file, a full disk."""

    exit_code = 2


class Interrupted(Failure):
    """Ctrl-C, with the exit code that shells give it."""

    exit_code = 130
    label = ""


def failure_of(error: BaseException, debug: bool) -> Failure | None:
    """Return how an exception is shown, or None where it is a mistake of ours and deserves its traceback."""
    cause = error if debug else None
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Interrupted("Interrupted.", cause)
    leaves = list(_leaves(error))
    if not all(_is_foreseen(leaf) for leaf in leaves):
        return None
    first = leaves[0]
    if isinstance(first, AgentRLError):
        # A full disk is the usual reason for a store to fail: the user mends it as they would a wrong path.
        kind = Mendable if isinstance(first, ConfigError | TaskError | StoreError) else Failure
        return kind(str(first), cause)
    if isinstance(first, OSError):
        place = f"{first.filename}: " if first.filename else ""
        return Mendable(f"{place}{_MENDABLE[first.errno or 0]}", cause)
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _is_foreseen(error: BaseException) -> bool:
    return isinstance(error, AgentRLError) or (isinstance(error, OSError) and error.errno in _MENDABLE)
