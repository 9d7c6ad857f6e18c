"""Wrong input gets one message that names the place and the remedy, exit code 2, and leaves the run as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TASK_WORLD = """
from agentrl import Env, reward

class Quiz(Env):
    tasks = "{tasks}"

    def act(self, text):
        self.right = text == "yes"
        return "done"

    @reward
    def correct(self):
        return self.right
"""


def assert_one_message(code: int, said: str, *words: str) -> None:
    """Check that a command failed as bad input does."""
    assert code == 2, said
    assert said.count("Error:") == 1, said
    assert "Traceback" not in said
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lr = 2e-3", "learning_rate = 2e-3", ("run.toml", "trainer.learning_rate", "lr")),
        ("steps = 6", 'steps = "six"', ("run.toml", "line 4", "`steps`", "whole number")),
        ("steps = 6", "steps = 6 6", ("run.toml", "line 4")),
        ('id = "', 'id = "babyay" # ', ("babyay", "babyai")),
        ('id = "', 'id = "agentrl.testing:CountdwonDouble" # ', ("agentrl.testing", "CountdwonDouble")),
        ('name = "words"', 'split = "trian"', ("trian", "train")),
        ('name = "words"', "args = { secnods = 1.0 }", ("secnods", "seconds")),
        ('name = "words"', 'args = { seconds = "slow" }', ("seconds", "slow")),
        ("lr = 2e-3", 'credit = "gpro"', ("gpro", "grpo")),
        ("lr = 2e-3", 'objective = "decoupled_pro"', ("decoupled_pro", "decoupled_ppo")),
        ('model = "', 'model = "nowhere/', ("nowhere", "agentrl init-model")),
        ('output = "', 'output = "/dev/null', ("/dev/null", "folder")),
    ],
    ids=lambda value: value if isinstance(value, str) and "=" in value else "",
)
def test_a_mistake_in_the_run_file_is_named(
    old: str, new: str, words: tuple[str, ...], make_run: Callable[..., Any], commands: Any
) -> None:
    run = make_run()
    text = run.file.read_text()
    assert old in text
    run.file.write_text(text.replace(old, new, 1))
    code, said = commands.run("train", run.file, cwd=run.cwd)

    assert_one_message(code, said, *words)
    assert not run.book.folder.exists(), "a run that never began left a folder behind"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (None, ("tasks.jsonl", "no task file")),
        (['{"prompt": "?"}', '{"prompt": "?"'], ("tasks.jsonl:2", "JSON")),
        (['{"prompt": "?"}', "", '["prompt"]'], ("tasks.jsonl:3",)),
        (['{"prompt": "?", "id": "a"}', '{"prompt": "?", "id": "a"}'], ("tasks.jsonl:2", "line 1")),
    ],
)
def test_a_broken_task_file_is_named_with_its_line(
    lines: list[str] | None, words: tuple[str, ...], make_run: Callable[..., Any], commands: Any
) -> None:
    run = make_run()
    world = run.cwd / "quiz.py"
    world.write_text(TASK_WORLD.format(tasks="tasks.jsonl"))
    if lines is not None:
        (run.cwd / "tasks.jsonl").write_text("\n".join(lines))
    code, said = commands.run("train", run.file, "--env.0.id", f"{world}:Quiz", cwd=run.cwd)

    assert_one_message(code, said, *words)
    assert not run.book.folder.exists()


def test_a_resumed_run_refuses_what_it_cannot_go_on_with_and_stays_whole(
    make_run: Callable[..., Any], commands: Any, base_model: Path
) -> None:
    run = make_run()
    code, said = commands.run("train", run.file, "--resume", cwd=run.cwd)
    assert_one_message(code, said, str(run.book.folder), "without --resume")

    assert commands.run("train", run.file, "--steps", 2, cwd=run.cwd)[0] == 0
    before = fingerprint(run.book.folder)
    code, said = commands.run("train", run.file, cwd=run.cwd)
    assert_one_message(code, said, str(run.book.folder), "--resume", "--output")

    code, said = commands.run("init-model", run.file, "--model", "other", "--hidden", 48, "--texts", 3, cwd=run.cwd)
    assert code == 0, said
    code, said = commands.run("train", run.file, "--model", "other", "--resume", cwd=run.cwd)
    assert_one_message(code, said, "another model", "step-000002", "other")

    (run.cwd / "empty").mkdir()
    code, said = commands.run("train", run.file, "--model", "empty", "--resume", cwd=run.cwd)
    assert_one_message(code, said, "empty", "config.json")
    assert fingerprint(run.book.folder) == before, "a refused command changed the run"
    code, said = commands.run("train", run.file, "--resume", "--steps", 3, cwd=run.cwd)
    assert code == 0, said


def test_a_damaged_model_or_checkpoint_is_named(make_run: Callable[..., Any], commands: Any, base_model: Path) -> None:
    run = make_run()
    broken = run.cwd / "broken"
    shutil.copytree(base_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, said = commands.run("train", run.file, "--model", "broken", cwd=run.cwd)
    assert_one_message(code, said, "broken")

    shutil.copyfile(base_model / "model.safetensors", weights)
    (broken / "tokenizer.json").unlink()
    code, said = commands.run("train", run.file, "--model", "broken", "--output", "second", cwd=run.cwd)
    assert_one_message(code, said, "broken", "tokenizer")

    assert commands.run("train", run.file, "--steps", 1, "--output", "third", cwd=run.cwd)[0] == 0
    (run.cwd / "third" / "checkpoints" / "step-000001" / "optimizer.safetensors").write_bytes(b"")
    code, said = commands.run("train", run.file, "--steps", 2, "--output", "third", "--resume", cwd=run.cwd)
    assert_one_message(code, said, "step-000001", "optimizer.safetensors")


def test_two_processes_cannot_train_in_one_folder(make_run: Callable[..., Any], commands: Any) -> None:
    from agentrl.store import SqliteStore

    run = make_run()
    assert commands.run("train", run.file, "--steps", 1, cwd=run.cwd)[0] == 0
    before = fingerprint(run.book.folder)
    store = SqliteStore.open(run.book.folder / "trajectories.db")
    try:
        code, said = commands.run("train", run.file, "--steps", 2, "--resume", cwd=run.cwd)
    finally:
        store._close()
    assert_one_message(code, said, "trajectories.db", "another process")
    assert json.loads(json.dumps(before)) == fingerprint(run.book.folder)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return a hash of every file that holds data of a run."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    kept = (path for path in files if not path.name.endswith((".lock", "-shm", "-wal")))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_a_credit_method_that_the_environment_cannot_serve_is_refused_before_the_run(
    make_run: Callable[..., Any], commands: Any
) -> None:
    run = make_run()
    bare = run.cwd / "bare.py"
    bare.write_text(
        "from agentrl import Env, SeededTasks, Task\n\n\nclass Bare(Env):\n"
        "    tasks = SeededTasks(lambda split, index: Task(str(index), split, prompt='go'), {'train': None})\n\n"
        "    def act(self, text):\n        return 'on'\n",
        encoding="utf-8",
    )
    for credit, missing in (("gigpo", "anchors"), ("igpo", "true answer")):
        settings = ("--env.0.id", bare, "--env.0.args", "{}", "--trainer.credit", credit)
        code, said = commands.run("train", run.file, *settings, cwd=run.cwd)
        assert code == 2, said
        assert missing in said
        assert not run.book.folder.exists(), "a refused run leaves nothing behind"
