"""The command line: quick, helpful, one message and one exit code for each mistake."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from agentrl.cli import RunFileCommand, main
from agentrl.cli import _catalog as catalog
from agentrl.cli._catalog import Entry
from agentrl.config import RunConfig
from agentrl.errors import AgentRLError, ConfigError, EnvError, PolicyError, StoreError, TaskError

GOOD = "model = 'm'\n[[env]]\nid = 'babyai'\n"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that adds a command for the duration of a test."""
    added: dict[str, click.Command] = {}
    listed = dict(catalog.entries())
    original = catalog.load
    monkeypatch.setattr("agentrl.cli._group.entries", lambda: listed)
    monkeypatch.setattr("agentrl.cli._group.load", lambda entry: added.get(entry.name) or original(entry))

    def add(command: click.Command) -> None:
        assert command.name
        added[command.name] = command
        listed[command.name] = Entry(command.name, "nowhere:nothing", "A test.")

    return add


def failing(install: Any, error: BaseException) -> Result:
    @click.command("fail")
    def fail() -> None:
        raise error

    install(fail)
    return call("fail")


def test_help_is_quick_and_imports_no_command() -> None:
    code = (
        "import sys\nfrom agentrl.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'pydantic', 'numpy', 'rich', 'agentrl_trainers'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    times = []
    for _ in range(3):
        clock = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
        times.append(time.monotonic() - clock)
        assert (done.returncode, done.stderr) == (0, "")
        for name in ("train", "sft", "eval", "init-model", "runs"):
            assert f"  {name} " in done.stdout
    assert min(times) < 0.6


def test_every_command_has_a_text_of_one_line() -> None:
    for entry in catalog.entries().values():
        assert entry.text.endswith(".")
        assert len(entry.text) < 75


def test_an_unknown_command_names_the_nearest() -> None:
    result = call("trian")
    assert result.exit_code == 2
    assert "no command 'trian'; did you mean 'train'?" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("run.toml: wrong"), 2),
        (TaskError("tasks.jsonl, line 3: wrong"), 2),
        (StoreError("runs/a: the disk is full"), 2),
        (EnvError("the server is gone"), 1),
        (PolicyError("out of memory"), 1),
        (AgentRLError("something"), 1),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [TaskError("tasks.jsonl, line 3: wrong")])]), 2),
    ],
)
def test_each_error_is_one_message_and_its_exit_code(install: Any, error: Exception, code: int) -> None:
    result = failing(install, error)
    message = error.exceptions[0].exceptions[0] if isinstance(error, ExceptionGroup) else error
    assert result.exit_code == code
    assert result.stderr == f"Error: {message}\n"


def test_a_full_disk_anywhere_is_one_message(install: Any) -> None:
    result = failing(install, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/model.safetensors"))
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: runs/a/model.safetensors: the disk is full; free some space")


def test_a_mistake_of_ours_keeps_its_traceback(install: Any) -> None:
    result = failing(install, ZeroDivisionError("ours"))
    assert isinstance(result.exception, ZeroDivisionError)
    mixed = failing(install, ExceptionGroup("tasks", [ConfigError("theirs"), ZeroDivisionError("ours")]))
    assert isinstance(mixed.exception, ExceptionGroup)


@pytest.mark.parametrize("arguments", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(install: Any, arguments: list[str]) -> None:
    failing(install, ConfigError("wrong"))
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("Error: wrong\n")
    assert "Traceback" not in call("fail").stderr


def test_the_environment_variable_asks_for_tracebacks_too(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTRL_DEBUG", "1")
    assert "Traceback" in failing(install, ConfigError("wrong")).stderr


def test_ctrl_c_is_one_line_and_exit_code_130(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom agentrl import Env\n\n\nclass Slow(Env):\n"
        "    tasks = [{'prompt': 'x', 'split': 'test'}]\n\n"
        "    def act(self, text):\n        return 'x'\n\n"
        "    def demonstrate(self):\n        print('ready', flush=True)\n        time.sleep(0.5)\n        return 'x'\n"
    )
    # A job in the background of a script is born deaf to Ctrl-C; so may be this test.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{listen}; from agentrl.cli import main; main()"
    command = [sys.executable, "-c", start, "eval", "slow.py", "--policy", "oracle"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (130, "Interrupted.\n")


def test_a_missing_package_gives_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agentrl_trainers", None)
    for name in [name for name in sys.modules if name.startswith("agentrl_trainers.")]:
        monkeypatch.delitem(sys.modules, name)
    result = call("train", "run.toml")
    assert result.exit_code == 2
    assert "agentrl train needs the package" in result.stderr
    assert "pip install 'agentrl[train]'" in result.stderr


def test_version() -> None:
    assert call("--version").output.startswith("agentrl 0.")


@pytest.fixture
def train(install: Any) -> list[dict[str, Any]]:
    """Install a stand-in for `train` and return what it was called with."""
    calls: list[dict[str, Any]] = []

    @click.command("train", cls=RunFileCommand)
    @click.option("--resume", is_flag=True)
    def train_command(**given: Any) -> None:
        """Train."""
        calls.append(given)

    install(train_command)
    return calls


@pytest.mark.parametrize(
    "order",
    [
        ["{file}", "--trainer.lr", "2e-6", "--resume", "--env.0.args.level=GoToLocal", "--steps", "3"],
        ["--resume", "--steps=3", "--env.0.args.level", "GoToLocal", "--trainer.lr", "2e-6", "{file}"],
    ],
)
def test_fields_of_the_run_file_are_options_in_any_order(
    tmp_path: Path, train: list[dict[str, Any]], order: list[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(GOOD)
    result = call("train", *(word.format(file=file) for word in order))
    assert result.exit_code == 0, result.stderr
    (given,) = train
    config = given["config"]
    assert isinstance(config, RunConfig)
    assert (config.trainer.lr, config.steps, config.env[0].args) == (2e-6, 3, {"level": "GoToLocal"})
    assert (given["resume"], given["run_file"]) == (True, file)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no run file given"),
        (["{file}", "other.toml"], "expected one run file, got 2"),
        (["{file}", "--trainer.lr"], "--trainer.lr needs a value"),
        (["{file}", "--trainer.lr", "--resume"], "--trainer.lr needs a value"),
        (["{file}", "--track.tensorboard", "--steps", "3"], "--track.tensorboard needs a value"),
        (["{file}", "--resum"], "--resume"),
        (["{file}", "--lr", "3"], "--trainer.lr"),
        (["{file}", "-x"], "-x"),
        (["{file}", "--trainer.lrr", "3"], "did you mean `trainer.lr`"),
        (["{file}", "--steps", "many"], 'command line: `steps` = "many", expected a whole number'),
        (["missing.toml"], "run file missing.toml does not exist"),
    ],
)
def test_a_mistyped_call_is_told_what_is_wrong(
    tmp_path: Path, train: list[dict[str, Any]], arguments: list[str], expected: str
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(GOOD)
    result = call("train", *(word.format(file=file) for word in arguments))
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not train


def test_help_config_lists_the_fields(train: list[dict[str, Any]]) -> None:
    result = call("train", "--help-config")
    assert result.exit_code == 0
    assert "rollout.group " in result.output
    assert "RUN_FILE [--SECTION.FIELD VALUE]..." in call("train", "--help").output


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["eval", "babyia", "--policy", "oracle"], 2, "babyai"),
        (["eval", "missing.toml"], 2, "run file missing.toml does not exist"),
    ],
)
def test_a_real_process_says_one_thing(tmp_path: Path, arguments: list[str], code: int, expected: str) -> None:
    command = [sys.executable, "-c", "from agentrl.cli import main; main(prog_name='agentrl')", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_event_loop_counts_as_ctrl_c(install: Any) -> None:
    @click.command("wait")
    def wait() -> None:
        async def interrupted() -> None:
            raise KeyboardInterrupt

        asyncio.run(interrupted())

    install(wait)
    result = call("wait")
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")
