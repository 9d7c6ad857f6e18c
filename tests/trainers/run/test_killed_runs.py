"""`SIGKILL` at any moment, then `--resume`: nothing finished is lost, nothing is trained on twice, and the run ends."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentrl.trajectory import Status, Trajectory

STEPS, GROUPS = 24, 2


@pytest.mark.slow
@pytest.mark.parametrize(("every", "kills"), [(1, 10), (3, 6)])
def test_a_run_killed_at_random_moments_trains_on_every_trajectory_once(
    every: int, kills: int, commands: Any, make_run: Callable[..., Any], base_model: Path, logprob_gaps: Any
) -> None:
    run = make_run()
    book = run.book
    settings = ("--steps", STEPS, "--checkpoint.every", every, "--checkpoint.keep", 100, "--env.0.args.seconds", 0.004)
    clock = random.Random(every)
    stored: set[str] = set()
    consumed: dict[str, int] = {}
    versions: list[tuple[int, int]] = []
    steps_at_kill = set()
    for kill in range(kills):
        resume = ("--resume",) if (book.folder / "trajectories.db").exists() else ()
        commands.start("train", run.file, *settings, *resume, cwd=run.cwd)
        if kill:  # the first may hit the start, before there is anything at all
            _until(lambda known=stored: len(book.stored()) > len(known) or commands.ended())
        # Random, but never so late that no later kill finds the run under way.
        last_step = (kill + 1) * STEPS // (kills + 2)
        moment = time.monotonic() + clock.uniform(0.0, 0.5)
        _until(lambda at=moment, last=last_step: time.monotonic() > at or _step(book) >= last or commands.ended())
        before = book.stored()
        commands.kill()
        assert commands.wait() == -9, commands.said
        assert before <= book.stored(), "an acknowledged trajectory is gone"
        assert stored <= book.stored()
        assert consumed.items() <= book.consumed().items(), "a trained group was given to another step"
        assert book.versions()[: len(versions)] == versions
        stored, consumed, versions = book.stored(), book.consumed(), book.versions()
        steps_at_kill.add(_step(book))
    assert len(steps_at_kill) > kills // 3, "the kills came too close together to say anything"
    code, said = commands.run("train", run.file, *settings, "--resume", cwd=run.cwd)

    assert code == 0, said
    assert stored <= book.stored()
    assert consumed.items() <= book.consumed().items()
    _check_whole(book, STEPS, every, bound=1)
    for (_, step), (version, following) in pairwise(book.versions()):
        again = following <= step and following in {0, *(point.step for point in book.checkpoints())}
        assert following == step + 1 or again, f"version {version} does not say which weights it stands for"
    # Weights of steps that no checkpoint holds are lost; all others can be told by their tokens.
    saved = {0: base_model} | {point.step: book.folder / point.path / "model" for point in book.checkpoints()}
    known = {version: saved[step] for version, step in book.versions() if step in saved}
    gaps = logprob_gaps(book.trajectories(), known)
    assert len(gaps) > 100
    assert max(gaps) < 1e-4, "a version names two sets of weights"
    if every > 1:
        assert book.versions()[-1][0] > STEPS, "versions of lost steps were used again"


PLACES = [
    ("agentrl_trainers.run._training:save_resolved", "after"),
    ("agentrl.store:SqliteStore.open_group", "after"),
    ("agentrl.store:SqliteStore.append_turn", "before"),
    ("agentrl.store:SqliteStore.add", "before"),
    ("agentrl.store:SqliteStore.add", "after"),
    ("agentrl.store:SqliteStore.claim", "after"),
    ("agentrl_trainers.run._training:train_on", "after"),
    ("agentrl_trainers.run._training:save_checkpoint", "after"),
    ("agentrl.metrics:MetricsWriter.write", "after"),
    ("agentrl.store:SqliteStore.commit_checkpoint", "after"),
    ("agentrl_trainers.run._training:prune_checkpoints", "before"),
    ("agentrl.store:SqliteStore.record_version", "before"),
    ("agentrl.store:SqliteStore.record_version", "after"),
    ("agentrl.policy.embedded:EmbeddedEngine.update_weights", "after"),
]


@pytest.mark.slow
def test_a_kill_between_any_two_acts_of_a_step_changes_no_step(commands: Any, make_run: Callable[..., Any]) -> None:
    """Synchronous and with one worker, so that the run can be compared with one that nothing has disturbed."""
    settings = ("--steps", 5, "--rollout.staleness", 0, "--rollout.in_flight", 1, "--checkpoint.keep", 1)
    calm, killed = make_run("calm"), make_run("killed")
    code, said = commands.run("train", calm.file, *settings, cwd=calm.cwd)
    assert code == 0, said
    for place, when in PLACES:
        resume = ("--resume",) if killed.book.rows("SELECT 1 FROM sqlite_schema") else ()
        commands.start("train", killed.file, *settings, *resume, cwd=killed.cwd, die=(place, when, 1))
        assert commands.wait() == -9, f"{place} was not met: {commands.said}"
    code, said = commands.run("train", killed.file, *settings, "--resume", cwd=killed.cwd)

    assert code == 0, said
    _check_whole(killed.book, 5, every=1, bound=0)
    assert [version for version, _ in killed.book.versions()] == list(range(6)), "weights were published twice"
    assert killed.book.sampled() == calm.book.sampled()
    for one, other in zip(calm.book.curve(), killed.book.curve(), strict=True):
        # What a process begins with, it computes from another cache: equal but for the last bits.
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6)


def _check_whole(book: Any, steps: int, every: int, *, bound: int) -> None:
    """Check that a finished run trained on each group once, and that metrics and store tell the same story."""
    consumed = book.consumed()
    claims = dict(book.rows("SELECT id, claimed_step FROM groups"))
    assert len(claims) == steps * GROUPS == len(consumed), "a group was never trained on"
    claimed: dict[int, list[str]] = {}
    for group, step in claims.items():
        claimed.setdefault(step, []).append(group)
        assert consumed[group] == min(steps, -(-step // every) * every)
    assert {step: len(groups) for step, groups in claimed.items()} == dict.fromkeys(range(1, steps + 1), GROUPS)
    metrics = book.metrics()
    assert [line["step"] for line in metrics] == list(range(1, steps + 1))
    members: dict[str, list[Trajectory]] = {}
    for trajectory in book.trajectories():
        members.setdefault(trajectory.group_id, []).append(trajectory)
    assert all(sorted(m.member for m in group) == [0, 1, 2] for group in members.values())
    for line in metrics:
        _check_step(line, [m for group in claimed[line["step"]] for m in members[group]], bound=bound)
    published = book.versions()
    assert len({version for version, _ in published}) == len(published)


def _check_step(line: Mapping[str, Any], trajectories: list[Trajectory], *, bound: int) -> None:
    """Check a line of metrics against the very trajectories that the store says the step was made of."""
    trained = [m for m in trajectories if m.status is not Status.ERROR and m.reward is not None]
    versions = np.concatenate([member.action_span(turn).versions for member in trained for turn in member.turns])
    ages = line["version"] - 1 - versions
    assert line["train/tokens_total"] == len(versions), "trained on something else than what was claimed"
    assert line["train/tokens_masked"] == int((ages > bound).sum())
    assert line["train/staleness_max"] == max((int(age) for age in ages if age <= bound), default=0)
    assert ages.min() >= 0
    assert line["train/tokens_trained"] + line["train/tokens_masked"] + line["train/tokens_skipped"] == len(versions)


def _step(book: Any) -> int:
    checkpoints = book.checkpoints()
    return checkpoints[-1].step if checkpoints else 0


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)  # another process is looked at: there is nothing to wait on
