"""What a run stores is exact: every sampled token's log-prob is that of a plain forward pass of its own version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentrl_trainers.run import Silent, train

TEMPERATURE = 1.3


def test_stored_logprobs_are_those_of_a_plain_forward_under_the_version_of_each_token(
    make_run: Callable[..., Any], base_model: Path, logprob_gaps: Callable[..., Any]
) -> None:
    run = make_run()
    config = run.config(
        steps="10",
        rollout__staleness="2",
        rollout__slots="3",
        rollout__in_flight="18",
        rollout__max_tokens="20",
        rollout__temperature=str(TEMPERATURE),
        trainer__lr="0.01",
        checkpoint__keep="100",
    )
    asyncio.run(train(config, observer=Silent()))

    folders = {0: base_model}
    folders |= {point.version: run.book.folder / point.path / "model" for point in run.book.checkpoints()}
    trajectories = run.book.trajectories()
    gaps = logprob_gaps(trajectories, folders, TEMPERATURE)
    episodes = [[trajectory.action_span(turn).versions for turn in trajectory.turns] for trajectory in trajectories]
    mixed_turns = sum(len(set(turn.tolist())) > 1 for turns in episodes for turn in turns)
    shifted = {version + 1: folder for version, folder in folders.items()}

    assert len(gaps) == sum(len(turn) for turns in episodes for turn in turns)
    assert max(gaps) < 1e-4
    assert len(trajectories) == 60
    assert mixed_turns > 0, "no turn was interrupted by new weights"
    assert max(logprob_gaps(trajectories[-12:], shifted, TEMPERATURE)) > 1e-2, "one version is like another"
