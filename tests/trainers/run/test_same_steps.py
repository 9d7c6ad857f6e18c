"""Synchronous and with one worker, a run is a function of its run file: twice the same, and the same when resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agentrl.metrics import RunSnapshot
from agentrl_trainers.run import Silent, train

ONE_WORKER = {"rollout__staleness": "0", "rollout__in_flight": "1", "steps": "4"}


class StopAfter(Silent):
    """Asks a run to stop once a step is done."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.stop = asyncio.Event()

    def update(self, snapshot: RunSnapshot) -> None:
        """Look at the step."""
        if snapshot.step == self.step:
            self.stop.set()


def test_two_synchronous_runs_with_one_worker_are_equal_bit_for_bit(
    make_run: Callable[..., Any], commands: Any
) -> None:
    here, there = make_run("here"), make_run("there")
    asyncio.run(train(here.config(**ONE_WORKER), observer=Silent()))
    # The other in a process of its own, which hashes strings by another seed.
    options = [word for key, value in ONE_WORKER.items() for word in (f"--{key.replace('__', '.')}", value)]
    code, said = commands.run("train", there.file, *options, cwd=there.cwd)

    assert code == 0, said
    assert here.book.curve() == there.book.curve()
    assert all(line["train/grad_norm"] > 0 for line in here.book.metrics()), "nothing was learnt: nothing was compared"
    assert here.book.sampled() == there.book.sampled()


@pytest.mark.parametrize("every", ["1", "3"])
def test_a_run_stopped_in_the_middle_takes_the_steps_of_one_that_was_not(
    every: str, make_run: Callable[..., Any]
) -> None:
    whole, stopped = make_run("whole"), make_run("stopped")
    settings = ONE_WORKER | {"checkpoint__every": every}
    asyncio.run(train(whole.config(**settings), observer=Silent()))
    observer = StopAfter(2)
    first = asyncio.run(train(stopped.config(**settings), observer=observer, stop=observer.stop))
    assert (first.finished, first.steps) == (False, 2)
    assert first.model.name == "model", "a stop keeps what was learnt, whenever the next checkpoint was due"
    second = asyncio.run(train(stopped.config(**settings), resume=True, observer=Silent()))

    assert (second.finished, second.steps) == (True, 4)
    assert stopped.book.curve()[:2] == whole.book.curve()[:2]
    for one, other in zip(whole.book.curve(), stopped.book.curve(), strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6)


def test_a_finished_run_that_is_resumed_only_says_so(make_run: Callable[..., Any]) -> None:
    run = make_run()
    first = asyncio.run(train(run.config(steps="2"), observer=Silent()))
    before = run.book.curve(), run.book.versions(), run.book.stored()
    again = asyncio.run(train(run.config(steps="2"), resume=True, observer=Silent()))

    assert (again.finished, again.steps, again.model) == (True, 2, first.model)
    assert (run.book.curve(), run.book.versions(), run.book.stored()) == before


def test_a_finished_run_goes_on_when_the_run_file_asks_for_more_steps(make_run: Callable[..., Any]) -> None:
    run = make_run()
    asyncio.run(train(run.config(steps="2"), observer=Silent()))
    before = run.book.curve()
    result = asyncio.run(train(run.config(steps="4"), resume=True, observer=Silent()))

    assert (result.finished, result.steps) == (True, 4)
    assert [line["step"] for line in run.book.metrics()] == [1, 2, 3, 4]
    assert run.book.curve()[:2] == before
