"""The metrics file holds each step once, whatever was killed when."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agentrl.errors import PrerequisiteError, ProtocolError
from agentrl.metrics import METRICS_NAME, SUPERSEDED_NAME, MetricsWriter, read_metrics


def record(folder: Path, steps: range, start: int = 0, mark: str = "a") -> None:
    with MetricsWriter(folder, start_step=start) as writer:
        for step in steps:
            writer.write(step, {"loss": 0.5 * step, "mark": mark})


def steps_and_marks(folder: Path) -> list[tuple[int, str]]:
    return [(row["step"], row["mark"]) for row in read_metrics(folder)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, {"loss": np.float32(0.5), "tokens": 12, "kl": float("nan"), "note": "warm-up"})
    (row,) = read_metrics(tmp_path)
    assert row.pop("time") > 1e9
    assert row == {"step": 1, "loss": 0.5, "tokens": 12, "kl": None, "note": "warm-up"}


def test_a_step_is_on_disk_before_the_writer_is_closed(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path)
    writer.write(1, {"loss": 1.0})
    assert len(read_metrics(tmp_path)) == 1
    writer.close()
    writer.close()


def test_no_file_means_no_steps(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("tail", ['{"step": 4, "lo', '{"step": 4}', "\0\0\0\0\n", '{"step": "x"}\n'])
def test_a_torn_last_line_is_left_out_and_dropped_on_resuming(tmp_path: Path, tail: str) -> None:
    record(tmp_path, range(1, 4))
    with (tmp_path / METRICS_NAME).open("a") as file:
        file.write(tail)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3]
    record(tmp_path, range(4, 6), start=4, mark="b")
    assert steps_and_marks(tmp_path) == [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b")]


def test_any_cut_of_the_file_can_be_resumed(tmp_path: Path) -> None:
    record(tmp_path, range(1, 4))
    content = (tmp_path / METRICS_NAME).read_bytes()
    for cut in range(len(content)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / METRICS_NAME).write_bytes(content[:cut])
        done = len(read_metrics(folder))
        record(folder, range(done + 1, 4), start=done + 1, mark="b")
        assert [row["step"] for row in read_metrics(folder)] == [1, 2, 3]


def test_steps_after_the_checkpoint_are_moved_off(tmp_path: Path) -> None:
    record(tmp_path, range(1, 6))
    record(tmp_path, range(3, 5), start=3, mark="b")
    assert steps_and_marks(tmp_path) == [(1, "a"), (2, "a"), (3, "b"), (4, "b")]
    moved = [json.loads(line)["step"] for line in (tmp_path / SUPERSEDED_NAME).read_text().splitlines()]
    assert moved == [3, 4, 5]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / METRICS_NAME).write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(ProtocolError, match="line 2"):
        read_metrics(tmp_path)


def test_tensorboard_reads_the_scalars_and_hides_superseded_steps(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for start, value in ((1, 1.0), (3, 2.0)):
        with MetricsWriter(tmp_path, tensorboard=True, start_step=start) as writer:
            for step in range(start, 5):
                writer.write(step, {"loss": value, "note": "text"})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_tensorboard_does_not_bring_torch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    code = (
        "import sys; from agentrl.metrics import MetricsWriter;"
        f"MetricsWriter({str(tmp_path)!r}, tensorboard=True).close(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_missing_tensorboard_gives_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'agentrl\[train\]'"):
        MetricsWriter(tmp_path, tensorboard=True)
