import asyncio
from contextlib import aclosing

import pytest

from agentrl.errors import EnvError, TaskError
from agentrl.policy import SamplingParams
from agentrl.rollout import EpisodeLimits, collect
from agentrl.trajectory import Status

LIMITS = EpisodeLimits(max_turns=6, max_tokens_per_turn=6, max_context=400)


def gather(doubles, world, indices, *, engine=None, **options):
    async def all_of_it():
        options.setdefault("in_flight", 4)
        arguments = (engine or doubles.Engine(), doubles.Renderer(), LIMITS, SamplingParams(max_tokens=1))
        return [each async for each in collect(world, "test", indices, *arguments, **options)]

    return doubles.run(all_of_it())


def test_every_task_is_played_as_often_as_asked(doubles):
    engine = doubles.Engine()
    found = gather(doubles, doubles.World(), range(5, 12), attempts=3, engine=engine)
    assert sorted((t.task_id, t.member) for t in found) == sorted(
        (f"test-{index}", member) for index in range(5, 12) for member in range(3)
    )
    assert len({t.id for t in found}) == 21 and len({t.group_id for t in found}) == 7
    for trajectory in found:
        assert doubles.check_exactness(engine, trajectory) == []


def test_what_is_there_already_is_skipped_and_the_rest_is_the_same(doubles):
    whole = {t.id: [turn.text for turn in t.turns] for t in gather(doubles, doubles.World(), range(6), attempts=2)}
    skip = {(0, 0), (0, 1), (3, 1)}
    rest = {
        t.id: [turn.text for turn in t.turns] for t in gather(doubles, doubles.World(), range(6), attempts=2, skip=skip)
    }
    assert len(rest) == 9 and rest.items() <= whole.items()


def test_no_more_than_in_flight_at_once(doubles):
    highest = 0

    async def count(session, call):
        nonlocal highest
        highest = max(highest, sum(not each.closed for each in world.opened))
        await asyncio.sleep(0.01)

    world = doubles.World(hook=count)
    gather(doubles, world, range(20), in_flight=3)
    assert highest == 3


def test_an_error_is_retried_and_then_reported_beside_the_others(doubles):
    async def fail(session, call):
        if call == "step" and session.task.seed == 2:
            raise EnvError("broken")

    world = doubles.World(hook=fail)
    found = gather(doubles, world, range(4), retries=2)
    errors = [t for t in found if t.status is Status.ERROR]
    assert len(found) == 4 and [(t.task_id, t.retry, t.reward) for t in errors] == [("test-2", 2, None)]


def test_failing_without_end_raises_where_asked_to(doubles):
    async def fail(session, call):
        if call == "reset":
            raise EnvError("no server")

    world = doubles.World(hook=fail)
    with pytest.raises(EnvError, match="no server"):
        gather(doubles, world, range(10**6), error_patience=8)
    assert len(world.opened) < 20


def test_a_task_beyond_the_split_is_raised_to_the_caller(doubles):
    class Small(doubles.World):
        def task(self, split, index):
            if index > 2:
                raise TaskError("test has 3 tasks")
            return super().task(split, index)

    with pytest.raises(TaskError, match="3 tasks"):
        gather(doubles, Small(), range(10))


def test_leaving_early_closes_every_session(doubles):
    world, engine = doubles.World(), doubles.Engine()

    async def first():
        arguments = (engine, doubles.Renderer(), LIMITS, SamplingParams(max_tokens=1))
        async with aclosing(collect(world, "test", range(100), *arguments, in_flight=5)) as trajectories:
            async for _ in trajectories:
                break

    doubles.run(first())
    assert len(world.opened) < 20 and all(session.closed for session in world.opened)
    assert engine.running == 0
