"""The two logs: what is stored comes back equal, once, whoever sends it how often."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from pathlib import Path
from random import Random

import numpy as np
import pytest

from agentrl.errors import ProtocolError, StoreError
from agentrl.store import SqliteStore, StoreCounts
from agentrl.testing._trajectories import (
    assert_same_spans,
    assert_same_trajectory,
    random_group,
    random_trajectory,
    turn_records,
)
from agentrl.trajectory import Segment, Span, SpanKind, Trajectory, encode_trajectory


async def test_stored_trajectories_come_back_equal_and_in_order_after_reopening(tmp_path: Path) -> None:
    rng = Random(0)
    made = [random_trajectory(rng, group_id=f"group-{index % 2}", member=index // 2) for index in range(8)]
    async with SqliteStore.open(tmp_path / "s") as store:
        for index in range(2):
            await store.open_group(random_group(rng, index, size=4))
        for trajectory in made:
            assert await store.add(trajectory)
    async with SqliteStore.open(tmp_path / "s") as store:
        back = await store.trajectories()
        assert [trajectory.id for trajectory in back] == [trajectory.id for trajectory in made]
        for one, other in zip(made, back, strict=True):
            assert_same_trajectory(one, other)
        some = await store.trajectories(["group-1", "no such group", "group-1"])
        assert [trajectory.id for trajectory in some] == [made[index].id for index in (1, 3, 5, 7)]


async def test_a_trajectory_delivered_twice_is_stored_once(store: SqliteStore) -> None:
    rng = Random(1)
    await store.open_group(random_group(rng))
    made = random_trajectory(rng)
    answers = await asyncio.gather(*(store.add(made) for _ in range(20)))
    assert sorted(answers) == [False] * 19 + [True]
    assert (await store.counts()).trajectories == 1


async def test_an_error_is_final_for_its_member(store: SqliteStore) -> None:
    rng = Random(2)
    await store.open_group(random_group(rng))
    assert await store.add(random_trajectory(rng, error=True))
    assert not await store.add(random_trajectory(rng, retry=1))
    (stored,) = await store.trajectories()
    assert stored.reward is None and stored.retry == 0
    assert await store.members("group-0") == {0}


async def test_the_turn_log_of_an_unfinished_episode_comes_back_equal(tmp_path: Path) -> None:
    rng = Random(3)
    made = random_trajectory(rng, turns=5)
    async with SqliteStore.open(tmp_path / "s") as store:
        await store.open_group(random_group(rng))
        for record in turn_records(made)[:3]:
            await store.append_turn(record)
            await store.append_turn(record)
    async with SqliteStore.open(tmp_path / "s") as store:
        log = await store.turns(made.id)
        assert log == turn_records(made)[:3]
        for one, other in zip(log, turn_records(made), strict=False):
            assert_same_spans(one.spans, other.spans)
        assert await store.turns("never heard of") == []
        assert (await store.counts()).turns == 3
        assert await store.members("group-0") == set()


async def test_a_log_with_a_hole_is_read_up_to_the_hole(store: SqliteStore) -> None:
    rng = Random(4)
    await store.open_group(random_group(rng))
    records = turn_records(random_trajectory(rng, turns=4))
    for index in (0, 3, 1):
        await store.append_turn(records[index])
    assert [record.index for record in await store.turns(records[0].trajectory_id)] == [0, 1]
    await store.append_turn(records[2])
    assert [record.index for record in await store.turns(records[0].trajectory_id)] == [0, 1, 2, 3]


async def test_a_finished_trajectory_keeps_its_last_word_on_turns_that_were_logged_earlier(store: SqliteStore) -> None:
    rng = Random(5)
    await store.open_group(random_group(rng))
    made = random_trajectory(rng, turns=3)
    for record in turn_records(made)[:2]:
        early = dataclasses.replace(record, turn=dataclasses.replace(record.turn, observation="not known yet"))
        await store.append_turn(early)
    assert await store.add(made)
    await store.append_turn(turn_records(made)[2])  # delivered late
    (back,) = await store.trajectories()
    assert_same_trajectory(back, made)
    assert (await store.counts()).turns == 3


async def test_an_episode_that_starts_again_under_the_same_name_is_refused(store: SqliteStore) -> None:
    rng = Random(6)
    await store.open_group(random_group(rng))
    await store.append_turn(turn_records(random_trajectory(rng))[0])
    again = random_trajectory(rng)
    with pytest.raises(StoreError, match="needs a new retry number"):
        await store.append_turn(turn_records(again)[0])
    with pytest.raises(StoreError, match="stored with other tokens"):
        await store.add(again)
    assert await store.add(random_trajectory(rng, retry=1))


async def test_one_bad_record_does_not_fail_those_that_share_its_transaction(store: SqliteStore) -> None:
    rng = Random(7)
    await store.open_group(random_group(rng, size=3))
    bad = dataclasses.replace(random_trajectory(rng, member=1), metadata={"state": object()})
    unknown = random_trajectory(rng, group_id="group-9")
    answers = await asyncio.gather(
        store.add(random_trajectory(rng, member=0)),
        store.add(bad),
        store.add(unknown),
        store.add(random_trajectory(rng, member=2)),
        return_exceptions=True,
    )
    assert answers[0] is True and answers[3] is True
    assert isinstance(answers[1], ProtocolError) and "metadata['state']" in str(answers[1])
    assert isinstance(answers[2], StoreError) and "call open_group first" in str(answers[2])
    assert await store.members("group-0") == {0, 2}
    assert (await store.counts()).turns == 6


async def test_a_member_beyond_the_group_and_a_taken_id_are_refused(store: SqliteStore) -> None:
    rng = Random(8)
    await store.open_group(random_group(rng, size=2))
    with pytest.raises(StoreError, match="members 0 to 1"):
        await store.add(random_trajectory(rng, member=2))
    first = random_trajectory(rng)
    await store.add(first)
    with pytest.raises(StoreError, match="an id names one attempt for ever"):
        await store.add(dataclasses.replace(random_trajectory(rng, member=1), id=first.id))


async def test_a_branch_shares_the_spans_of_its_parent_on_disk_and_in_memory(tmp_path: Path) -> None:
    rng = Random(9)
    prompt = Span("prompt", SpanKind.PROMPT, np.arange(100_000, dtype=np.int32))
    async with SqliteStore.open(tmp_path / "s") as store:
        await store.open_group(random_group(rng, size=8))
        for member in range(8):
            await store.add(_with_prompt(random_trajectory(rng, member=member), prompt))
        back = await store.trajectories()
    assert len({id(trajectory.segments[0].spans[0]) for trajectory in back}) == 1
    assert back[7].segments[0].spans[0].tokens.tobytes() == prompt.tokens.tobytes()
    assert (tmp_path / "s").stat().st_size < 2 * prompt.tokens.nbytes


async def test_a_logged_and_finished_trajectory_is_not_stored_twice(tmp_path: Path) -> None:
    rng = Random(10)
    made = [random_trajectory(rng, member=member, turns=16, tokens_per_span=60) for member in range(20)]
    async with SqliteStore.open(tmp_path / "s") as store:
        await store.open_group(random_group(rng, size=20))
        for trajectory in made:
            for record in turn_records(trajectory):
                await store.append_turn(record)
            await store.add(trajectory)
    assert (tmp_path / "s").stat().st_size < 1.5 * sum(len(encode_trajectory(trajectory)) for trajectory in made)


async def test_groups_that_lack_members_are_what_a_resumed_run_finishes_first(store: SqliteStore) -> None:
    rng = Random(11)
    assert await store.next_group_index() == 0
    groups = [random_group(rng, index) for index in range(4)]
    for index in (0, 1, 3, 2, 1):
        await store.open_group(groups[index])
        assert await store.next_group_index() == {0: 1, 1: 2, 3: 2, 2: 4}[index] or index == 1
    for member in range(2):
        await store.add(random_trajectory(rng, group_id="group-1", member=member))
    await store.add(random_trajectory(rng, group_id="group-2"))
    assert await store.open_groups() == [groups[0], groups[2], groups[3]]


async def test_a_group_admitted_again_with_another_size_is_refused(store: SqliteStore) -> None:
    group = random_group(Random(12), size=4)
    await store.open_group(group)
    await store.open_group(dataclasses.replace(group, version=3))
    assert await store.open_groups() == [group]
    for changed in (dataclasses.replace(group, size=8), dataclasses.replace(group, id="other")):
        with pytest.raises(StoreError, match="changed since"):
            await store.open_group(changed)


async def test_counts_tell_the_states_apart(store: SqliteStore) -> None:
    rng = Random(13)
    for index in range(3):
        await store.open_group(random_group(rng, index))
    for index, member in itertools.product(range(2), range(2)):
        await store.add(
            random_trajectory(rng, group_id=f"group-{index}", member=member, error=(index, member) == (1, 1))
        )
    await store.append_turn(turn_records(random_trajectory(rng, group_id="group-2"))[0])
    await store.claim(1, 1)
    assert await store.counts() == StoreCounts(
        groups=3, trajectories=4, finished=3, claimed=2, consumed=0, errors=1, turns=13
    )


def _with_prompt(trajectory: Trajectory, prompt: Span) -> Trajectory:
    return dataclasses.replace(trajectory, segments=(Segment((prompt, *trajectory.segments[0].spans[1:])),))
