"""Runs with a critic, from the run file to the checkpoint and back, and what a run needs before it begins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from agentrl.errors import ConfigError
from agentrl_trainers.run import Silent, train

ONE_WORKER = {"rollout__staleness": "0", "rollout__in_flight": "1", "steps": "3"}


@pytest.mark.parametrize(
    ("credit", "kind"), [("gae", "head"), ("turn_gae", "model"), ("bilevel_gae", "head"), ("egae", "head")]
)
def test_a_run_with_a_critic_learns_values(make_run: Callable[..., Any], credit: str, kind: str) -> None:
    run = make_run()
    settings = {"trainer__credit": credit, "trainer__critic__kind": kind, "trainer__critic__lr": "1e-2"}
    result = asyncio.run(train(run.config(steps="3", **settings), observer=Silent()))

    lines = run.book.metrics()
    assert result.finished
    assert all(line["train/value_targets"] > 0 and line["train/critic_grad_norm"] > 0 for line in lines)
    assert lines[0]["train/value_loss"] > 0
    assert (result.model.parent / "critic.safetensors").is_file()


def test_the_policy_stands_still_while_its_critic_warms_up(make_run: Callable[..., Any]) -> None:
    run = make_run()
    settings = ONE_WORKER | {"trainer__credit": "gae", "trainer__critic__kind": "head"}
    asyncio.run(train(run.config(**settings, trainer__critic__warmup_steps="2"), observer=Silent()))

    assert [line["train/critic_warmup"] for line in run.book.metrics()] == [1.0, 1.0, 0.0]
    assert [line["train/grad_norm"] > 0 for line in run.book.metrics()] == [False, False, True]


def test_a_resumed_run_goes_on_with_its_critic(make_run: Callable[..., Any]) -> None:
    whole, stopped = make_run("whole"), make_run("stopped")
    settings = ONE_WORKER | {"trainer__credit": "gae", "trainer__critic__kind": "head", "trainer__critic__lr": "1e-2"}
    asyncio.run(train(whole.config(**settings), observer=Silent()))
    asyncio.run(train(stopped.config(**settings | {"steps": "2"}), observer=Silent()))
    asyncio.run(train(stopped.config(**settings), resume=True, observer=Silent()))

    for one, other in zip(whole.book.metrics(), stopped.book.metrics(), strict=True):
        for name in ("train/value_loss", "train/loss", "train/critic_grad_norm"):
            assert other[name] == pytest.approx(one[name], rel=1e-4, abs=1e-6), name


def test_tracked_values_are_kept_with_the_checkpoint(make_run: Callable[..., Any]) -> None:
    run = make_run()
    settings = {"trainer__credit": "single_stream", "rollout__group": "1", "rollout__groups_per_step": "4"}
    result = asyncio.run(train(run.config(steps="2", **settings), observer=Silent()))

    manifest = json.loads((result.model.parent / "checkpoint.json").read_text())
    tracked = manifest["extra"]["tracked"]
    assert tracked and all(name.startswith("words ") for name in tracked)
    asyncio.run(train(run.config(steps="3", **settings), resume=True, observer=Silent()))


def test_a_baseline_from_the_trainers_own_probabilities(make_run: Callable[..., Any]) -> None:
    run = make_run()
    asyncio.run(train(run.config(steps="1", trainer__credit="optimal_token_baseline"), observer=Silent()))
    assert run.book.metrics()[0]["train/tokens_trained"] > 0


@pytest.mark.parametrize(
    ("credit", "message"),
    [
        ("gae", r"needs what this run lacks: a critic.*\[trainer\.critic\] kind = \"head\""),
        ("hiper_hae", "plans"),
        ("remax", "greedy"),
    ],
)
def test_what_a_run_cannot_serve_is_refused_before_anything_is_made(
    make_run: Callable[..., Any], credit: str, message: str
) -> None:
    run = make_run()
    with pytest.raises(ConfigError, match=message):
        asyncio.run(train(run.config(trainer__credit=credit), observer=Silent()))
    assert not run.book.folder.exists()
    with pytest.raises(ConfigError, match=r"no option 'gama'.*did you mean 'gamma'"):
        asyncio.run(
            train(run.config(trainer__credit="reinforce_pp", trainer__credit_options="{gama = 1.0}"), observer=Silent())
        )
