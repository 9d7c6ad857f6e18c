"""`agentrl credit compare` on a run folder: the turns of a group under several methods, and what others lack."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from click.testing import CliRunner

from agentrl.cli import main
from agentrl.config import EnvSection, RolloutSection, RunConfig, save_resolved
from agentrl.rollout import group_id
from agentrl.store import STORE_NAME, GroupRecord, SqliteStore
from agentrl.testing._trajectories import random_trajectory
from agentrl.trajectory import Segment, Span, Trajectory
from agentrl_trainers.credit import assign, credit_batch


def _with(trajectory: Trajectory, *, anchors: list[str], entropies: bool) -> Trajectory:
    def dressed(span: Span) -> Span:
        if span.logprobs is None:
            return span
        values = np.full(len(span), 0.25, np.float32) if entropies else None
        return dataclasses.replace(span, entropies=values)

    turns = tuple(dataclasses.replace(turn, anchor=name) for turn, name in zip(trajectory.turns, anchors, strict=True))
    segments = tuple(Segment(tuple(dressed(span) for span in segment.spans)) for segment in trajectory.segments)
    return dataclasses.replace(trajectory, turns=turns, segments=segments)


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, list[Trajectory]]:
    """A run of three groups of four in batches of two; in the newest batch one group's rewards are all equal."""
    folder = tmp_path / "maze"
    folder.mkdir()
    rollout = RolloutSection(groups_per_step=2, group=4)
    config = RunConfig(model=tmp_path, output=folder, env=(EnvSection(id="doubles"),), rollout=rollout)
    save_resolved(config, folder)
    return folder, asyncio.run(_filled(folder))


async def _filled(folder: Path) -> list[Trajectory]:
    rng = Random(0)
    rewards = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    stored = []
    store = SqliteStore.open(folder / STORE_NAME)
    for index, group_rewards in enumerate(rewards):
        name = group_id("maze", index)
        await store.open_group(GroupRecord(name, index, "doubles", "train", index, 4, 0))
        for member, reward in enumerate(group_rewards):
            made = random_trajectory(rng, group_id=name, member=member, turns=2)
            made = _with(made, anchors=["start", f"room-{member % 2}"], entropies=True)
            made = dataclasses.replace(made, reward=reward)
            await store.add(made)
            stored.append(made)
    await store.close()
    return stored


def _invoke(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["credit", "compare", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_each_turn_has_the_advantage_that_training_would_give_it(
    run: tuple[Path, list[Trajectory]], tmp_path: Path
) -> None:
    folder, stored = run
    code, output = _invoke(folder, "--methods", "grpo,gigpo", "--group", group_id("maze", 0), "--json", tmp_path / "j")
    assert code == 0, output
    document = json.loads((tmp_path / "j").read_text())
    assert document["methods"] == ["grpo", "gigpo"]
    batch = credit_batch(stored[:8])
    for name in ("grpo", "gigpo"):
        token_advantages = assign(name, batch)
        first_of_turn = [int((batch.turn_K == turn).nonzero()[0]) for turn in range(16)]
        assert [row["advantages"][name] for row in document["turns"]] == pytest.approx(
            token_advantages[first_of_turn].tolist(), abs=1e-6
        )
    assert [row["anchor_group"] for row in document["turns"]][:4] == [4, 2, 4, 2]
    assert document["turns"][1]["reward"] + document["turns"][0]["reward"] == pytest.approx(1.0)


def test_without_a_group_the_newest_step_is_shown(run: tuple[Path, list[Trajectory]]) -> None:
    folder, _ = run
    code, output = _invoke(folder, "--methods", "grpo")
    assert code == 0
    assert f"group {group_id('maze', 2)}, one of 1 in its batch" in output


def test_a_method_that_the_record_cannot_serve_says_why_and_the_others_are_shown(
    run: tuple[Path, list[Trajectory]], tmp_path: Path
) -> None:
    folder, _ = run
    code, output = _invoke(folder, "--methods", "igpo,grpo", "--json", tmp_path / "j")
    assert code == 0
    assert "igpo: ground truth" in output
    assert json.loads((tmp_path / "j").read_text())["methods"] == ["grpo"]


def test_wrong_names_are_told_with_the_right_ones(run: tuple[Path, list[Trajectory]], tmp_path: Path) -> None:
    folder, _ = run
    code, output = _invoke(folder, "--methods", "grppo")
    assert code == 2
    assert "did you mean 'grpo'" in output
    code, output = _invoke(folder, "--group", "maze-g000009")
    assert code == 2
    assert "no such group, the last is 'maze-g000002'" in output
    code, output = _invoke(tmp_path)
    assert code == 2
    assert "no run folder" in output
