"""A disk that fills up ends a run with one message; nothing acknowledged is lost, and with more space it goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STEPS = 8


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return what makes a disk of a given size, or resizes it; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def size(text: str) -> Path:
        nonlocal mounted
        options = f"remount,size={text}" if mounted else f"size={text}"
        result = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True
        )
        if result.returncode:
            pytest.skip(f"a file system of its own cannot be mounted here: {result.stderr.strip()}")
        mounted = True
        return place

    yield size
    if mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize(
    ("what", "settings"),
    [
        ("checkpoints", ("--checkpoint.keep", 100)),
        ("trajectories.db", ("--checkpoint.every", 100)),
    ],
)
def test_a_run_on_a_full_disk_stops_whole_and_goes_on_with_more_space(
    what: str,
    settings: tuple[Any, ...],
    small_disk: Callable[[str], Path],
    make_run: Callable[..., Any],
    commands: Any,
) -> None:
    run = make_run("disk/run")
    # The base model is some 150 KB: checkpoints with optimizer are three times that, the store some 100 KB a step.
    disk = small_disk("2500k" if what == "checkpoints" else "600k")
    steps = ("--steps", STEPS)
    code, said = commands.run("train", run.file, *steps, *settings, cwd=run.cwd)

    assert code == 2, said
    assert said.count("Error:") == 1, said
    assert "Traceback" not in said
    for words in (str(disk), "--resume", "space"):
        assert words in said
    # Which file takes the last byte of a disk that checkpoints fill is a matter of a millisecond.
    assert what in said or (what == "checkpoints" and "trajectories.db" in said)
    stored, consumed = run.book.stored(), run.book.consumed()
    assert run.book.rows("PRAGMA integrity_check") == [("ok",)]
    if what == "checkpoints":
        assert consumed, "the disk was full before anything was worth keeping"
        assert (run.book.folder / run.book.checkpoints()[-1].path).is_dir()
    code, said = commands.run("train", run.file, *steps, *settings, "--resume", cwd=run.cwd)
    assert code == 2, "the disk is still full"
    assert said.count("Error:") == 1, said
    assert stored <= run.book.stored()

    small_disk("64m")
    code, said = commands.run("train", run.file, *steps, *settings, "--resume", cwd=run.cwd)
    assert code == 0, said
    assert_complete(run.book, stored, consumed)


@pytest.mark.parametrize(
    ("what", "file_bytes", "settings"),
    [
        ("checkpoints", 900_000, ("--model", "large", "--rollout.staleness", 0)),
        ("trajectories.db", 600_000, ("--checkpoint.every", 100)),
    ],
)
def test_a_file_that_may_not_grow_stops_a_run_as_a_full_disk_does(
    what: str, file_bytes: int, settings: tuple[Any, ...], make_run: Callable[..., Any], commands: Any
) -> None:
    """The same where nothing can be mounted: the operating system refuses the write in the middle of a file."""
    run = make_run()
    if "large" in settings:
        code, said = commands.run(
            "init-model", run.file, "--model", "large", "--hidden", 160, "--texts", 5, cwd=run.cwd
        )
        assert code == 0, said
    steps = ("--steps", STEPS)
    code, said = commands.run("train", run.file, *steps, *settings, cwd=run.cwd, file_bytes=file_bytes)

    assert code == 2, said
    assert said.count("Error:") == 1, said
    assert "Traceback" not in said
    for words in (str(run.book.folder), what, "--resume", "space"):
        assert words in said
    stored, consumed = run.book.stored(), run.book.consumed()
    assert stored, "nothing was stored before: nothing was tested"
    assert run.book.rows("PRAGMA integrity_check") == [("ok",)]
    code, said = commands.run("train", run.file, *steps, *settings, "--resume", cwd=run.cwd)
    assert code == 0, said
    assert_complete(run.book, stored, consumed)


def assert_complete(book: Any, stored: set[str], consumed: dict[str, int]) -> None:
    """Check that a run has all its steps, and what it had before."""
    assert stored <= book.stored()
    assert consumed.items() <= book.consumed().items()
    assert len(book.consumed()) == STEPS * 2
    assert [line["step"] for line in book.metrics()] == list(range(1, STEPS + 1))
    assert not list((book.folder / "checkpoints").glob(".*")), "unfinished checkpoints were left behind"
