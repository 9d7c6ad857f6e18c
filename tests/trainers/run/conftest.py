"""Whole runs for tests: a tiny model, run files, `agentrl` as a process to be killed, and what the store says."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentrl.config import RunConfig, load_run
from agentrl.store import CheckpointRecord, SqliteStore
from agentrl.trajectory import Trajectory

HERE = Path(__file__).parent
WORLD = f"{HERE / 'word_world.py'}:Words"

TEMPLATE = """
model = "{model}"
output = "{output}"
steps = 6
[[env]]
id = "{world}"
name = "words"
[rollout]
groups_per_step = 2
group = 3
staleness = 1
in_flight = 12
slots = 4
max_turns = 4
max_tokens = 6
max_context = 128
renderer = "text"
[trainer]
lr = 2e-3
token_budget = 512
[track]
tensorboard = false
"""


class Commands:
    """`agentrl` commands as processes of their own, one at a time."""

    def __init__(self, model: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "command_server.py"), str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._running: int | None = None
        self._log = Path()

    def start(self, *argv: object, cwd: Path, file_bytes: int = 0, die: tuple[str, str, int] | None = None) -> int:
        """Start a command and return its pid. What it says goes to the file `log` in its working directory.

        Args:
            argv: Its arguments.
            cwd: Its working directory.
            file_bytes: No file that it writes may grow larger; 0 = no limit.
            die: Where it kills itself: `module:function`, "before" or "after", which call of it (from 1).
        """
        assert self._running is None, "one at a time"
        self._log = cwd / "log"
        self._log.unlink(missing_ok=True)
        request = {"argv": [str(word) for word in argv], "cwd": str(cwd), "log": str(self._log)}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request | {"file_bytes": file_bytes, "die": die}).encode() + b"\n")
        self._server.stdin.flush()
        self._running = self._answer(60.0)
        return self._running

    @property
    def said(self) -> str:
        """What the command has written, to standard output and standard error."""
        return self._log.read_text() if self._log.exists() else ""

    def ended(self) -> bool:
        """Whether the command has ended."""
        return bool(select.select([self._server.stdout], [], [], 0)[0])

    def wait(self, seconds: float = 60.0) -> int:
        """Return the exit code; -signal where a signal ended it."""
        assert self._running is not None
        try:
            code = self._answer(seconds)
        except TimeoutError:
            self.stop()
            raise
        self._running = None
        return code

    def run(self, *argv: object, **settings: Any) -> tuple[int, str]:
        """Run a command to its end; return its exit code and what it said. Arguments as `start`."""
        self.start(*argv, **settings)
        return self.wait(), self.said

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the command a signal."""
        assert self._running is not None
        os.kill(self._running, number)

    def stop(self) -> None:
        """End what still runs."""
        if self._running is not None:
            with suppress(ProcessLookupError):  # it has ended by itself
                self.kill()
            self._answer(30.0)
            self._running = None

    def close(self) -> None:
        """End the server."""
        self.stop()
        self._server.communicate(timeout=30)

    def _answer(self, seconds: float) -> int:
        assert self._server.stdout is not None
        # Unbuffered enough: the server writes one line per answer and the next only when asked again.
        if not select.select([self._server.stdout], [], [], seconds)[0]:
            raise TimeoutError(f"the command did not answer within {seconds:g} s; it said:\n{self.said}")
        return int(os.read(self._server.stdout.fileno(), 32))


@dataclass(frozen=True)
class Book:
    """What a run folder holds, read from outside as any other program would."""

    folder: Path

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of an SQL query on the store."""
        path = self.folder / "trajectories.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            try:
                return connection.execute(query).fetchall()
            except sqlite3.OperationalError:  # killed before its tables were made
                return []

    def stored(self) -> set[str]:
        """Return the ids of all durable trajectories."""
        return {name for (name,) in self.rows("SELECT id FROM attempts WHERE stored IS NOT NULL")}

    def consumed(self) -> dict[str, int]:
        """Return the step that a checkpoint has tied each group to."""
        return dict(self.rows("SELECT id, consumed_step FROM groups WHERE consumed_step IS NOT NULL"))

    def versions(self) -> list[tuple[int, int]]:
        """Return the published versions, in order, each with the optimizer steps in it."""
        return self.rows("SELECT version, step FROM versions ORDER BY version")

    def checkpoints(self) -> list[CheckpointRecord]:
        """Return the committed checkpoints, in order."""
        return [
            CheckpointRecord(*row) for row in self.rows("SELECT step, version, path FROM checkpoints ORDER BY step")
        ]

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, without one that is just being written."""
        path = self.folder / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def curve(self) -> list[tuple[Any, ...]]:
        """Return what the learner computed in each step, exactly as written."""
        names = ("step", "version", "reward", "train/loss", "train/grad_norm", "train/entropy", "train/tokens_total")
        return [tuple(line[name] for name in names) for line in self.metrics()]

    def sampled(self) -> dict[tuple[str, int], list[list[int]]]:
        """Return all tokens by task and member."""
        return {
            (member.task_id, member.member): [segment.tokens().tolist() for segment in member.segments]
            for member in self.trajectories()
        }

    def trajectories(self, *group_ids: str) -> list[Trajectory]:
        """Return all trajectories, or those of the named groups."""

        async def read() -> list[Trajectory]:
            async with SqliteStore.open(self.folder / "trajectories.db", readonly=True) as store:
                return await store.trajectories(group_ids or None)

        return asyncio.run(read())


@dataclass(frozen=True)
class Run:
    """A run file in a folder of its own.

    Attributes:
        cwd: Where commands are started.
        file: The run file.
        book: What its output folder holds.
    """

    cwd: Path
    file: Path
    book: Book

    def config(self, **overrides: str) -> RunConfig:
        """Return the run as typed settings; `rollout__group="2"` lays a value over the file's."""
        return load_run(self.file, {key.replace("__", "."): value for key, value in overrides.items()})


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of 32 x 2 with a tokenizer of its world's words."""
    from agentrl_trainers.init_model import init_model

    texts = [f"say {count} words\n{left} more\n" for count in (2, 3, 4) for left in range(4)]
    folder = tmp_path_factory.mktemp("models") / "base"
    shape = {"hidden": 32, "layers": 2, "heads": 2, "kv_heads": 1}
    init_model(folder, texts, **shape, vocab_size=300, max_context=128, template="text", seed=0)
    return folder


@pytest.fixture
def make_run(base_model: Path, tmp_path: Path) -> Callable[[str], Run]:
    """Return what makes a run file by the name of its output folder."""

    def make(name: str = "run") -> Run:
        file = tmp_path / f"{Path(name).name}.toml"
        file.write_text(TEMPLATE.format(model=base_model, output=tmp_path / name, world=WORLD))
        return Run(tmp_path, file, Book(tmp_path / name))

    return make


@pytest.fixture(scope="session")
def logprob_gaps() -> Callable[[list[Trajectory], Mapping[int, Path], float], list[float]]:
    """Return what compares stored log-probs with those of a plain transformers forward pass.

    It takes trajectories, the model folder of each version and the sampling temperature, and returns |stored - plain|
    for every sampled token of these versions.
    """
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    loaded: dict[Path, Any] = {}

    @torch.no_grad()
    def plain(folder: Path, tokens_L: Any, temperature: float) -> Any:
        if folder not in loaded:
            loaded[folder] = loader.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        tokens_1L = torch.from_numpy(tokens_L.astype(np.int64))[None]
        logits_LV = loaded[folder](input_ids=tokens_1L, use_cache=False).logits[0]
        logprobs_LV = torch.log_softmax(logits_LV[:-1] / temperature, dim=-1)
        return np.concatenate([[np.nan], logprobs_LV.gather(1, tokens_1L[0, 1:, None]).squeeze(1).numpy()])

    def gaps(trajectories: list[Trajectory], folders: Mapping[int, Path], temperature: float = 1.0) -> list[float]:
        found: list[float] = []
        torch.set_num_threads(1)  # so small a model gains nothing by a second thread, and loses by waiting for it
        for segment in (segment for trajectory in trajectories for segment in trajectory.segments):
            starts = np.cumsum([0, *(len(span) for span in segment.spans)]).tolist()
            actions = [(a, span) for a, span in zip(starts, segment.spans, strict=False) if span.logprobs is not None]
            stored = np.concatenate([span.logprobs for _, span in actions])
            versions = np.concatenate([span.versions for _, span in actions])
            positions = np.concatenate([np.arange(start, start + len(span)) for start, span in actions])
            for version in folders.keys() & set(versions.tolist()):
                exact = plain(folders[version], segment.tokens(), temperature)[positions]
                found += np.abs(stored - exact)[versions == version].tolist()
        return found

    return gaps


@pytest.fixture(scope="session")
def _server(base_model: Path) -> Iterator[Commands]:
    commands = Commands(base_model)
    yield commands
    commands.close()


@pytest.fixture
def commands(_server: Commands) -> Iterator[Commands]:
    """Return the `agentrl` command line; whatever the test leaves running is ended after it."""
    yield _server
    _server.stop()
