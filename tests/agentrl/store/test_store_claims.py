"""Claims and checkpoints: every acknowledged trajectory is trained on exactly once."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import StoreError
from agentrl.store import CheckpointRecord, ClaimedGroup, SqliteStore
from agentrl.testing._trajectories import random_group, random_trajectory

_COUNTER = itertools.count()


async def test_the_oldest_complete_groups_are_claimed_whole(store: SqliteStore) -> None:
    rng = Random(0)
    for index in range(4):
        await store.open_group(random_group(rng, index))
    for index, member in [(3, 1), (3, 0), (1, 0), (2, 1), (2, 0)]:
        await store.add(random_trajectory(rng, group_id=f"group-{index}", member=member, error=member == 1))
    assert await store.claim(1, 3) == []
    claimed = await store.claim(1, 2)
    assert [(each.group.index, [member.member for member in each.members]) for each in claimed] == [
        (2, [0, 1]),
        (3, [0, 1]),
    ]
    assert await store.claim(2, 1) == []
    assert _ids(await store.claim(1, 2)) == _ids(claimed)


async def test_a_crash_before_the_checkpoint_gives_the_claim_back_and_one_after_it_does_not(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "s") as store:
        await _fill(store, 3)
        first = await store.claim(1, 1)
        second = await store.claim(2, 1)
        await store.commit_checkpoint(CheckpointRecord(1, 1, "checkpoints/1"))
    async with SqliteStore.open(tmp_path / "s") as store:
        assert await store.recover() == 2
        assert await store.recover() == 0
        assert await store.last_checkpoint() == CheckpointRecord(1, 1, "checkpoints/1")
        assert _ids(await store.claim(2, 1)) == _ids(second)
        assert _ids(await store.claim(3, 1)) not in (_ids(first), _ids(second))
        assert (await store.counts()).consumed == 2


async def test_a_step_that_a_checkpoint_covers_cannot_claim_again(store: SqliteStore) -> None:
    await _fill(store, 2)
    await store.claim(1, 1)
    await store.commit_checkpoint(CheckpointRecord(1, 1, "checkpoints/1"))
    with pytest.raises(StoreError, match=r"load checkpoints/1 and go on with step 2"):
        await store.claim(1, 1)


async def test_a_checkpoint_is_committed_once_and_never_goes_back(store: SqliteStore) -> None:
    await store.commit_checkpoint(CheckpointRecord(0, 0, "checkpoints/0"))
    await store.commit_checkpoint(CheckpointRecord(2, 2, "checkpoints/2"))
    await store.commit_checkpoint(CheckpointRecord(2, 2, "checkpoints/2"))
    for earlier in (CheckpointRecord(1, 1, "x"), CheckpointRecord(2, 3, "y")):
        with pytest.raises(StoreError, match="never goes back"):
            await store.commit_checkpoint(earlier)


async def test_a_version_number_never_names_two_sets_of_weights(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "s") as store:
        assert await store.last_version() is None
        await store.record_version(0, 0)
        await store.record_version(3, 1)
    async with SqliteStore.open(tmp_path / "s") as store:
        assert await store.last_version() == 3
        for version in (3, 2):
            with pytest.raises(StoreError, match="take 4"):
                await store.record_version(version, 2)


@settings(max_examples=15, deadline=None)
@given(events=st.lists(st.sampled_from(["add", "claim", "checkpoint", "crash"]), max_size=30))
async def test_whatever_happens_each_trajectory_is_consumed_by_one_step(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    path = tmp_path_factory.mktemp(f"run{next(_COUNTER)}") / "s"
    store = SqliteStore.open(path)
    rng, step, groups = Random(0), 0, 0
    uncommitted: dict[int, list[str]] = {}
    trained: list[str] = []
    for event in events:
        if event == "add":
            await store.open_group(random_group(rng, groups, size=1))
            await store.add(random_trajectory(rng, group_id=f"group-{groups}", turns=1))
            groups += 1
        elif event == "claim" and (claimed := await store.claim(step + 1, 1)):
            step += 1
            uncommitted[step] = _ids(claimed)
        elif event == "checkpoint" and uncommitted:
            await store.commit_checkpoint(CheckpointRecord(step, step, "c"))
            trained += itertools.chain.from_iterable(uncommitted.values())
            uncommitted.clear()
        elif event == "crash":
            await store.close()
            store = SqliteStore.open(path)
            assert await store.recover() == len(uncommitted)
            last = await store.last_checkpoint()
            step = 0 if last is None else last.step
            uncommitted.clear()
    counts = await store.counts()
    await store.close()
    assert trained == [f"group-{index}/0/0" for index in range(len(trained))]
    assert (counts.consumed, counts.claimed, counts.trajectories) == (len(trained), len(uncommitted), groups)


async def _fill(store: SqliteStore, groups: int) -> None:
    rng = Random(0)
    for index in range(groups):
        await store.open_group(random_group(rng, index))
        for member in range(2):
            await store.add(random_trajectory(rng, group_id=f"group-{index}", member=member))


def _ids(claimed: list[ClaimedGroup]) -> list[str]:
    return [member.id for each in claimed for member in each.members]
