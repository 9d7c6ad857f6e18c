"""`agentrl runs`: what a run folder tells while it is written to and after."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from agentrl.cli import main
from agentrl.config import EnvSection, RunConfig, save_resolved
from agentrl.metrics import METRICS_NAME, MetricsWriter
from agentrl.store import CheckpointRecord, GroupRecord, SqliteStore
from agentrl.trajectory import Segment, Span, SpanKind, Status, StopReason, Trajectory, Turn

COLUMNS = ["run", "env", "steps", "success", "started", "state", "size"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["runs", *arguments])


def make_run(folder: Path, steps: int = 4, done: int = 2, stored: bool = True) -> Path:
    """Make a run folder with metrics, a store with one trained group of one, and a checkpoint."""
    config = RunConfig(
        model=Path("m"), output=folder, steps=steps, env=(EnvSection(id="babyai", args={"level": "GoToObj"}),)
    )
    save_resolved(config, folder)
    with MetricsWriter(folder) as writer:
        for step in range(1, done + 1):
            writer.write(step, {"success": 0.25 * step, "loss": -0.01})
    if stored:
        asyncio.run(fill_store(folder, done))
    return folder


async def fill_store(folder: Path, done: int) -> None:
    tokens = np.arange(3, dtype=np.int32)
    action = Span("a", SpanKind.ACTION, tokens, tokens.astype(np.float32), tokens)
    trajectory = Trajectory(
        id="t", group_id="g", env="babyai", task_id="x", split="train", seed=1, member=0,
        segments=(Segment((action,)),), turns=(Turn(0, 0, "left"),), reward=1.0,
        status=Status.OK, stop_reason=StopReason.COMPLETED,
    )  # fmt: skip
    async with SqliteStore.open(folder / "trajectories.db") as store:
        await store.open_group(GroupRecord("g", 0, "babyai", "train", 0, 1, 0))
        await store.add(trajectory)
        await store.claim(done, 1)
        await store.commit_checkpoint(CheckpointRecord(done, done, f"checkpoints/step-{done:06d}"))


def row(result: Result) -> dict[str, str]:
    header, line = (text for text in result.stdout.splitlines() if text)
    starts = [header.index(name) for name in COLUMNS]
    cells = [line[low:high].strip() for low, high in zip(starts, [*starts[1:], None], strict=True)]
    return dict(zip(COLUMNS, cells, strict=True))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_runs_it_says_how_to_start_one() -> None:
    result = call()
    assert result.exit_code == 0
    assert "Start one with agentrl train" in result.stdout


def test_a_run_that_can_go_on() -> None:
    make_run(Path("runs/first"))
    found = row(call())
    assert (found["run"], found["env"], found["steps"]) == ("runs/first", "babyai GoToObj", "2/4")
    assert (found["success"], found["state"]) == ("50.0%", "resumable")
    assert found["started"].startswith("20")
    assert found["size"].endswith("kB")


@pytest.mark.parametrize(("done", "stored", "state"), [(4, True, "finished"), (2, False, "not started")])
def test_finished_and_not_started_runs(done: int, stored: bool, state: str) -> None:
    make_run(Path("runs/first"), done=done, stored=stored)
    assert row(call("runs"))["state"] == state


def test_a_run_that_another_process_writes_to_is_running() -> None:
    folder = make_run(Path("runs/first"))
    code = (
        "import sys; from agentrl.store import SqliteStore\n"
        f"store = SqliteStore.open({str(folder / 'trajectories.db')!r})\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        assert row(call())["state"] == "running"
        assert f"written by process {process.pid}" in call("show", str(folder)).stdout
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert row(call())["state"] == "resumable"


def test_newest_first_and_a_damaged_one_does_not_hide_the_others() -> None:
    for place, name in enumerate(("a", "b", "c")):
        folder = make_run(Path("runs") / name, stored=False)
        os.utime(folder / "resolved.toml", (1e9 + place, 1e9 + place))
    (Path("runs/b") / "resolved.toml").write_text("steps = 'x'")
    os.utime(Path("runs/b/resolved.toml"), (9e8, 9e8))
    result = call()
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["runs/c", "runs/a", "runs/b"]
    assert "damaged" in result.stdout.splitlines()[-1]
    assert "runs/b/resolved.toml" in result.stderr


def test_damaged_metrics_are_named() -> None:
    folder = make_run(Path("runs/first"))
    (folder / METRICS_NAME).write_text("nonsense\n{}\n")
    assert row(call())["state"] == "damaged"
    assert "metrics.jsonl, line 1" in call("show", str(folder)).stdout


def test_show_prints_metrics_counts_and_configuration() -> None:
    folder = make_run(Path("runs/first"))
    result = call("show", str(folder))
    assert result.exit_code == 0, result.output
    for part in (
        "resumable, 2 of 4 steps",
        "checkpoints/step-000002, policy version 2",
        "1 groups, 1 trajectories",
        "1 consumed",
        "last 2 steps",
        'level = "GoToObj"',
    ):
        assert part in result.stdout
    assert [line.split() for line in result.stdout.splitlines() if line.split()[:1] == ["success"]] == [
        ["success", "0.25", "0.5"]
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"), [(["nowhere"], "nowhere is no folder"), (["show", "runs"], "runs there: runs/first")]
)
def test_a_wrong_folder_is_one_message(arguments: list[str], expected: str) -> None:
    make_run(Path("runs/first"), stored=False)
    result = call(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr


def test_looking_changes_nothing() -> None:
    folder = make_run(Path("runs/first"))
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    call()
    call("show", str(folder))
    after = {
        file: file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name[-4:] not in ("-wal", "-shm")
    }
    assert {file: content for file, content in before.items() if file.name[-4:] not in ("-wal", "-shm")} == after


def test_help_names_both_forms() -> None:
    assert "[DIR] | show DIR" in call("--help").output
