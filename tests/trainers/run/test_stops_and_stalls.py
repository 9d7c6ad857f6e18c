"""A run can be stopped at any time; a world that hangs or fails neither stops it in silence nor teaches it zeros."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from agentrl.errors import EnvError
from agentrl.trajectory import Status
from agentrl_trainers.run import Silent, train


def until(condition: Callable[[], bool], commands: Any, seconds: float = 60.0) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen; the command said:\n{commands.said}"
        assert not commands.ended(), commands.said
        time.sleep(0.01)  # another process is looked at: there is nothing to wait on


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_between_two_steps_and_resume_completes_it(
    number: signal.Signals, make_run: Callable[..., Any], commands: Any
) -> None:
    run = make_run()
    settings = ("--steps", 12, "--checkpoint.every", 50, "--env.0.args.seconds", 0.02)
    commands.start("train", run.file, *settings, cwd=run.cwd)
    until(lambda: len(run.book.metrics()) >= 2, commands)
    commands.kill(number)

    assert commands.wait(30) == 130
    assert f"agentrl train {run.file} --resume" in commands.said
    assert "Traceback" not in commands.said
    stopped = run.book.checkpoints()[-1].step
    assert 2 <= stopped < 12
    assert f"stopped after step {stopped};" in commands.said
    before = run.book.stored()
    code, said = commands.run("train", run.file, *settings, "--resume", cwd=run.cwd)
    assert code == 0, said
    assert before <= run.book.stored()
    assert [line["step"] for line in run.book.metrics()] == list(range(1, 13))
    assert [step for (step,) in run.book.rows("SELECT step FROM versions")] == list(range(13)), "a step was done again"


def test_a_hung_world_is_described_on_request_and_a_second_ctrl_c_does_not_wait_for_it(
    make_run: Callable[..., Any], commands: Any
) -> None:
    run = make_run()
    commands.start("train", run.file, "--env.0.args.hang", 1000, cwd=run.cwd)
    until(lambda: (run.book.folder / "metrics.jsonl").exists(), commands)
    time.sleep(0.3)
    commands.kill(signal.SIGUSR1)
    until(lambda: "asked by SIGUSR1" in commands.said, commands)
    assert "waits for environment (step of turn 0)" in commands.said
    commands.kill(signal.SIGINT)
    until(lambda: "once more stops at once" in commands.said, commands)
    begin = time.monotonic()
    commands.kill(signal.SIGINT)

    assert commands.wait(30) == 130
    assert time.monotonic() - begin < 5
    assert "Traceback" not in commands.said
    code, said = commands.run("train", run.file, "--resume", cwd=run.cwd)
    assert code == 0, said
    assert run.book.checkpoints()[-1].step == 6


@pytest.mark.parametrize(
    "trouble", [("--env.0.args.hang", 1, "--rollout.turn_timeout", 0.5), ("--env.0.args.broken", "first")]
)
@pytest.mark.parametrize("retries", [1, 0])
def test_an_episode_that_hangs_or_fails_is_retried_counted_and_never_trained_on_as_a_zero(
    trouble: tuple[Any, ...], retries: int, make_run: Callable[..., Any], commands: Any
) -> None:
    run = make_run()
    code, said = commands.run("train", run.file, "--steps", 2, *trouble, "--rollout.retries", retries, cwd=run.cwd)

    assert code == 0, said
    trajectories = run.book.trajectories()
    failed = [trajectory for trajectory in trajectories if trajectory.status is Status.ERROR]
    last = run.book.metrics()[-1]
    assert (last["retries"], last["errors"]) == (retries, 1 - retries)
    assert len(failed) == sum(line["batch_errors"] for line in run.book.metrics()) == 1 - retries
    assert sum(line["trajectories"] for line in run.book.metrics()) == 12 - len(failed)
    assert [trajectory.retry for trajectory in trajectories if trajectory.retry] == [1] * retries
    for trajectory in failed:
        assert trajectory.reward is None
        assert trajectory.error is not None
        assert ("turn_timeout" if "hang" in trouble[0] else "the world has ended") in trajectory.error
    trained = sum(line["train/tokens_total"] for line in run.book.metrics())
    good = (trajectory for trajectory in trajectories if trajectory not in failed)
    assert trained == sum(trajectory.sampled_tokens() for trajectory in good)


def test_a_world_in_which_everything_fails_ends_the_run_with_its_reason(
    make_run: Callable[..., Any], commands: Any
) -> None:
    run = make_run()
    code, said = commands.run("train", run.file, "--env.0.args.broken", "all", cwd=run.cwd)

    assert code == 1, said
    assert "Traceback" not in said
    assert said.count("Error:") == 1 + said.count("OSError:")
    for words in ("environment words", "in a row failed", "the world has ended", "--resume"):
        assert words in said
    code, said = commands.run("train", run.file, "--resume", cwd=run.cwd)
    assert code == 0, said


def test_a_stalled_run_says_who_waits_for_whom(make_run: Callable[..., Any]) -> None:
    said: list[str] = []

    class Listener(Silent):
        def message(self, text: str) -> None:
            said.append(text)

    config = make_run().config(env__0__args__hang="1000", rollout__turn_timeout="1.5", rollout__retries="0")
    with pytest.raises(EnvError, match=r"turn_timeout = 1\.5 s"):
        asyncio.run(train(config, observer=Listener(), patience=0.4))

    assert any("no progress for" in text for text in said)
    assert any("episodes under way wait: " in text and "for environment" in text for text in said)


def test_held_out_tasks_are_evaluated_beside_the_training(make_run: Callable[..., Any], commands: Any) -> None:
    run = make_run()
    settings = ("--steps", 4, "--eval.every", 2, "--eval.episodes", 5, "--eval.split", "train")
    code, said = commands.run("train", run.file, *settings, cwd=run.cwd)
    assert code == 0, said
    lines = [json.loads(line) for line in (run.book.folder / "evaluations.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines} <= {2, 4}
    assert lines[-1]["count"] == 5
    assert lines[-1]["low"] <= lines[-1]["mean"] <= lines[-1]["high"]
    assert "evaluation after step" in said


def test_a_stop_does_not_wait_for_the_evaluation_that_is_under_way(make_run: Callable[..., Any], commands: Any) -> None:
    run = make_run()
    endless = ("--eval.every", 1, "--eval.episodes", 100_000, "--eval.split", "train", "--env.0.args.seconds", 0.02)
    commands.start("train", run.file, "--steps", 500, *endless, cwd=run.cwd)
    until(lambda: "left out: the one before is still running" in commands.said, commands)
    commands.kill(signal.SIGINT)
    assert commands.wait(30) == 130
    assert "Traceback" not in commands.said
