"""TensorBoard events, written with the `tensorboard` package alone: torch is not needed for a scalar."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from agentrl.errors import PrerequisiteError


class EventWriter:
    """Writes scalars as TensorBoard events.

    Args:
        folder: Where the event files go.
        start_step: Events of an earlier run from this step on are hidden by the viewer.

    Raises:
        PrerequisiteError: The package `tensorboard` is not installed.
    """

    def __init__(self, folder: Path, start_step: int) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ModuleNotFoundError as error:
            raise PrerequisiteError(
                f"track.tensorboard = true needs the package {error.name}",
                "pip install 'agentrl[train]', or set track.tensorboard = false",
            ) from error
        self._event, self._summary = Event, Summary
        self._file = EventFileWriter(str(folder))
        start = Event(wall_time=time.time(), step=start_step, session_log=SessionLog(status=SessionLog.START))
        self._file.add_event(start)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one step's scalars and flush them."""
        scalars = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._file.add_event(self._event(wall_time=time.time(), step=step, summary=self._summary(value=scalars)))
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._file.close()
