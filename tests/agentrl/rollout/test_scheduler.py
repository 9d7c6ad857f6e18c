import asyncio
import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import AgentRLError, ConfigError, EnvError, PolicyError, StoreError
from agentrl.trajectory import Status


async def run_with_trainer(doubles, scheduler, engine, store, *, batch, staleness, steps, step=0, pace=0.01):
    trainer = doubles.Trainer(scheduler, engine, store, batch, staleness, pace, steps, engine.version, step)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scheduler.run())
        tasks.create_task(trainer.train())
    return trainer


def latency(seed, longest, failures=0.0):
    """An environment that takes its time, and fails by chance: another chance at each attempt."""
    rng = random.Random(seed)

    async def hook(session, call):
        await asyncio.sleep(rng.random() * longest)
        if call == "step" and rng.random() < failures:
            raise EnvError("the server went away")

    return hook


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    staleness=st.integers(0, 3),
    batch=st.integers(1, 4),
    group=st.integers(1, 4),
    in_flight=st.integers(1, 20),
    longest=st.sampled_from([0.0, 0.002, 0.05]),
    pace=st.sampled_from([0.0, 0.01, 0.1]),
    rewrites=st.booleans(),
)
def test_random_schedules_keep_every_promise(
    doubles, seed, staleness, batch, group, in_flight, longest, pace, rewrites
):
    steps, highest = 4, 0
    store, engine = doubles.Store(), doubles.Engine(version=10, jitter=0.003, seed=seed)

    async def hook(session, call):
        nonlocal highest
        highest = max(highest, sum(not each.closed for each in world.opened))
        await delay(session, call)

    delay = latency(seed, longest, failures=0.03)
    world = doubles.World(hook=hook, size=5)
    scheduler = doubles.scheduler(
        engine,
        store,
        [world],
        version=10,
        renderer=doubles.Renderer(rewrites),
        staleness=staleness,
        groups_per_step=batch,
        group_size=group,
        in_flight=in_flight,
        total_groups=steps * batch,
        retries=2,
        error_patience=0,
    )
    trainer = doubles.run(
        run_with_trainer(doubles, scheduler, engine, store, batch=batch, staleness=staleness, steps=steps, pace=pace)
    )
    assert len(store.trajectories) == steps * batch * group, "something was lost"
    assert trainer.worst <= staleness
    assert highest <= in_flight
    for trajectory in store.trajectories.values():
        left = doubles.check_exactness(engine, trajectory)
        assert not left or trajectory.status is Status.ERROR
        logged = [record.turn for record in store.log[trajectory.id]]
        assert list(trajectory.turns[: len(logged)]) == logged
        if trajectory.status is not Status.ERROR:
            assert len(logged) == len(trajectory.turns)
    assert set(engine.released) == set(engine.contexts)
    stats = scheduler.stats()
    assert stats.finished == stats.admitted == len(store.trajectories) and stats.in_flight == 0
    assert stats.errors == sum(t.status is Status.ERROR for t in store.trajectories.values())
    assert stats.sampled_tokens <= sum(map(len, engine.sampled.values()))


def test_synchronous_training_starts_nothing_before_the_weights_are_there(doubles):
    store, engine = doubles.Store(), doubles.Engine()
    scheduler = doubles.scheduler(engine, store, [doubles.World()], staleness=0, in_flight=50)
    trainer = doubles.run(run_with_trainer(doubles, scheduler, engine, store, batch=2, staleness=0, steps=2, pace=1.0))
    assert trainer.worst == 0
    for trajectory in store.trajectories.values():
        expected = int(trajectory.group_id[-6:]) // 2
        assert all(set(trajectory.action_span(turn).versions) == {expected} for turn in trajectory.turns)
    assert scheduler.stats().blocked_by_staleness_seconds >= 1.0


def test_asynchronous_training_overlaps(doubles):
    """A step's rollouts are under way while the trainer works: staleness buys time, else it is worth nothing."""

    def seconds(staleness):
        store, engine = doubles.Store(), doubles.Engine()

        async def timed():
            scheduler = doubles.scheduler(
                engine, store, [doubles.World(hook=latency(0, 0.1))], staleness=staleness, total_groups=20, in_flight=30
            )
            start = asyncio.get_running_loop().time()
            await run_with_trainer(doubles, scheduler, engine, store, batch=2, staleness=1, steps=10, pace=0.2)
            return asyncio.get_running_loop().time() - start

        return doubles.run(timed())

    assert seconds(2) < 0.7 * seconds(0)


def test_a_late_group_does_not_hold_up_the_slots_of_others(doubles):
    """Capacity is counted in trajectories: with one member of a group stuck, the rest goes on at full width."""

    async def hook(session, call):
        if call == "step" and session is world.opened[0]:
            await asyncio.sleep(3.0)

    async def timed():
        await scheduler.run()
        return asyncio.get_running_loop().time() - 1000.0

    world = doubles.World(hook=hook, longest=1)
    store = doubles.Store()
    scheduler = doubles.scheduler(
        doubles.Engine(), store, [world], staleness=50, total_groups=10, in_flight=2, group_size=3
    )
    assert 3.0 <= doubles.run(timed()) < 3.2


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), moments=st.lists(st.floats(0.001, 0.2), min_size=1, max_size=4))
def test_a_run_stopped_at_any_moment_goes_on_without_loss(doubles, seed, moments):
    """Each stop is followed by a new scheduler on the same store, as after a crash."""
    store = doubles.Store()
    plan = {"staleness": 9, "total_groups": 6, "group_size": 3, "in_flight": 5, "seed": seed}
    engines = []

    async def once(moment):
        world = doubles.World(hook=latency(seed, 0.02), size=4)
        engines.append(doubles.Engine(version=100 * len(engines), seed=seed))
        scheduler = doubles.scheduler(engines[-1], store, [world], version=engines[-1].version, **plan)
        running = asyncio.create_task(scheduler.run())
        if moment is not None:
            await asyncio.sleep(moment)
            await scheduler.stop(5.0)
        await running
        assert all(session.closed for session in world.opened)
        return scheduler.stats()

    for moment in moments:
        doubles.run(once(moment))
    there = set(store.trajectories)
    last = doubles.run(once(None))
    assert len(store.trajectories) == 18
    assert last.finished == 18 - len(there), "a finished trajectory was made again"
    for trajectory in store.trajectories.values():
        # An attempt that was stopped before its first turn was logged left nothing behind: its id is used again.
        last = [engine for engine in engines if trajectory.id in engine.sampled][-1]
        assert doubles.check_exactness(last, trajectory) == []
        logged = [span for record in store.log[trajectory.id] for span in record.spans]
        recorded = [span for segment in trajectory.segments for span in segment.spans]
        assert [span.tokens.tolist() for span in logged] == [span.tokens.tolist() for span in recorded]


def test_the_order_of_tasks_survives_a_stop(doubles):
    def groups(stops):
        store = doubles.Store()

        async def once(moment):
            scheduler = doubles.scheduler(
                doubles.Engine(),
                store,
                [doubles.World("a", size=7), doubles.World("b", size=3)],
                staleness=9,
                total_groups=20,
            )
            running = asyncio.create_task(scheduler.run())
            if moment:
                await asyncio.sleep(moment)
                await scheduler.stop()
            await running

        for moment in stops:
            doubles.run(once(moment))
        return [(group.env, group.task_index) for _, group in sorted(store.groups.items())]

    assert groups([None]) == groups([0.03, 0.02, None])


def test_after_a_stop_an_attempt_with_logged_turns_gets_a_new_id_and_the_same_seed(doubles):
    store = doubles.Store()
    plan = {"total_groups": 1, "group_size": 1}

    async def hang(session, call):
        if call == "step" and session.turn == 1:
            await asyncio.sleep(30)

    class Long(doubles.World):
        def length(self, task):
            return 3

    async def go_on():
        await doubles.scheduler(doubles.Engine(), store, [Long()], seed=5, **plan).run()

    async def stop():
        scheduler = doubles.scheduler(doubles.Engine(), store, [Long(hook=hang)], seed=5, **plan)
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(1)
        await scheduler.stop()
        await running

    doubles.run(stop())
    assert not store.trajectories and len(store.log["run-g000000-m0-r0"]) == 1
    doubles.run(go_on())
    (trajectory,) = store.trajectories.values()
    assert trajectory.retry == 1 and trajectory.id == "run-g000000-m0-r1"
    assert trajectory.turns[0].text == store.log["run-g000000-m0-r0"][0].turn.text


def test_resumed_groups_wait_for_the_weights_they_need(doubles):
    """After a crash the trainer may be behind: groups admitted by weights that are lost must not start too early."""
    store = doubles.Store()

    async def admit_far():
        from agentrl.store._base import GroupRecord

        await store.open_group(GroupRecord("run-g000009", 9, "countdown", "train", 9, 3, 4))
        engine = doubles.Engine()
        scheduler = doubles.scheduler(engine, store, [doubles.World()], staleness=0, step=1, total_groups=10)
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(1)
        assert scheduler.stats().admitted == 0
        assert "group 9 may start with the weights of step 4" in scheduler.describe()
        scheduler.weights_published(7, 4)
        await running

    doubles.run(admit_far())
    assert len(store.trajectories) == 3


def test_an_error_is_retried_with_the_same_seed_and_only_the_last_is_delivered(doubles):
    def broken_once(request):
        return PolicyError("lost the connection") if request.endswith("r0") else None

    store, engine = doubles.Store(), doubles.Engine()
    engine.fails = broken_once
    scheduler = doubles.scheduler(engine, store, [doubles.World()], error_patience=0)
    doubles.run(scheduler.run())
    assert {trajectory.retry for trajectory in store.trajectories.values()} == {1}
    assert all(trajectory.status is Status.OK for trajectory in store.trajectories.values())
    stats = scheduler.stats()
    assert (stats.finished, stats.errors, stats.retried) == (12, 0, 12)


def test_a_retry_samples_what_the_failed_attempt_sampled(doubles):
    attempts = []

    async def fail_first(session, call):
        if call == "reset":
            attempts.append(session)
        if call == "step" and session is attempts[0]:
            raise EnvError("once")

    store, engine = doubles.Store(), doubles.Engine()
    plan = {"total_groups": 1, "group_size": 1}
    doubles.run(doubles.scheduler(engine, store, [doubles.World(hook=fail_first)], **plan).run())
    first, second = engine.sampled["run-g000000-m0-r0"], engine.sampled["run-g000000-m0-r1"]
    assert first and second[: len(first)] == first


def test_members_of_a_group_sample_differently(doubles):
    store = doubles.Store()
    scheduler = doubles.scheduler(
        doubles.Engine(stop_chance=0.05), store, [doubles.World()], group_size=6, total_groups=1
    )
    doubles.run(scheduler.run())
    assert len({tuple(turn.text for turn in t.turns) for t in store.trajectories.values()}) > 3


def test_an_error_that_stays_is_delivered_without_a_reward(doubles):
    async def fail_some(session, call):
        if call == "step" and session.task.seed == 1:
            raise EnvError("this task is broken")

    store = doubles.Store()
    scheduler = doubles.scheduler(doubles.Engine(), store, [doubles.World(hook=fail_some)], error_patience=0, retries=2)
    doubles.run(scheduler.run())
    errors = [t for t in store.trajectories.values() if t.status is Status.ERROR]
    assert {t.task_id for t in errors} == {"train-1"} and len(errors) == 3
    assert all(t.reward is None and t.retry == 2 for t in errors)
    assert scheduler.stats().errors == 3 and scheduler.stats().retried == 6


def test_an_environment_that_always_fails_ends_the_run_and_says_why(doubles):
    async def fail(session, call):
        if call == "reset":
            raise OSError("no route to host")

    store, world = doubles.Store(), doubles.World("maze", hook=fail)
    scheduler = doubles.scheduler(doubles.Engine(), store, [world], total_groups=None, staleness=1000)
    with pytest.raises(EnvError, match=r"environment maze: 6 episodes in a row.*no route to host.*--resume"):
        doubles.run(scheduler.run())
    assert len(world.opened) < 30


def test_a_dead_engine_ends_the_run_as_the_engines_fault(doubles):
    engine = doubles.Engine()
    engine.fails = lambda request: PolicyError("CUDA error")
    with pytest.raises(PolicyError, match="CUDA error"):
        doubles.run(doubles.scheduler(engine, doubles.Store(), [doubles.World()]).run())


def test_a_store_that_fails_ends_the_run_with_its_own_error(doubles):
    store, world = doubles.Store(), doubles.World()

    async def full(record):
        raise StoreError("disk full")

    store.append_turn = full
    with pytest.raises(StoreError, match="disk full"):
        doubles.run(doubles.scheduler(doubles.Engine(), store, [world]).run())
    assert all(session.closed for session in world.opened)


def test_a_delivery_under_way_is_finished_when_the_run_is_stopped(doubles):
    store, begun = doubles.Store(), []

    async def slow(trajectory):
        begun.append(trajectory.id)
        await asyncio.sleep(1.0)
        await store.add(trajectory)

    async def stop():
        scheduler = doubles.scheduler(doubles.Engine(), store, [doubles.World(longest=1)], deliver=slow)
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0.5)
        await scheduler.stop(2.0)
        await running

    doubles.run(stop())
    assert begun and len(store.trajectories) == len(begun)


def test_a_stop_that_takes_too_long_names_who_is_waited_for(doubles):
    async def never(trajectory):
        await asyncio.sleep(100)

    async def stop():
        scheduler = doubles.scheduler(doubles.Engine(), doubles.Store(), [doubles.World(longest=1)], deliver=never)
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0.5)
        with pytest.raises(AgentRLError, match=r"did not stop within 2 s[\s\S]*waits for delivery"):
            await scheduler.stop(2.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    doubles.run(stop())


def test_pause_starts_nothing_new_and_resume_goes_on(doubles):
    store = doubles.Store()

    async def scenario():
        scheduler = doubles.scheduler(doubles.Engine(), store, [doubles.World()], in_flight=2, staleness=9)
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0.01)
        scheduler.pause()
        await asyncio.sleep(5)
        paused = scheduler.stats()
        assert paused.in_flight == 0 and 0 < paused.admitted < 12
        assert "paused" in scheduler.describe()
        scheduler.resume()
        await running

    doubles.run(scenario())
    assert len(store.trajectories) == 12


def test_a_hung_run_says_who_waits_for_whom_and_since_when(doubles):
    async def hang(session, call):
        if call == "step" and session.task.seed == 0:
            await asyncio.sleep(4.0)

    async def scenario():
        scheduler = doubles.scheduler(doubles.Engine(), doubles.Store(), [doubles.World(hook=hang)], staleness=0)
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(3)
        text = scheduler.describe()
        stats = scheduler.stats()
        await scheduler.stop()
        await running
        return text, stats

    text, stats = doubles.run(scenario())
    assert "new episodes wait for the trainer for 2.9" in text or "new episodes wait for the trainer for 3.0" in text
    assert "run-g000000-m0-r0 waits for environment (step of turn 0) for 2.9" in text or "for 3.0 s" in text
    assert stats.waiting_on_env == 3 and stats.waiting_on_engine == 0


def test_older_groups_decode_first(doubles):
    engine = doubles.Engine()
    doubles.run(doubles.scheduler(engine, doubles.Store(), [doubles.World()], staleness=9).run())
    assert {int(priority) for priority in engine.priorities} == {0, 1, 2, 3}


def test_environments_share_by_weight_and_epochs_visit_every_task_once(doubles):
    from agentrl.rollout import EnvironmentShare, TaskOrder

    worlds = [doubles.World("small", size=5), doubles.World("large", size=None)]
    order = TaskOrder([EnvironmentShare(worlds[0], weight=1), EnvironmentShare(worlds[1], weight=3)], seed=3)
    places = [order.place(index) for index in range(80)]
    assert Counter(place.env for place in places) == {"small": 20, "large": 60}
    small = [place.task_index for place in places if place.env == "small"]
    epochs = [tuple(small[start : start + 5]) for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs) and len(set(epochs)) > 1
    assert [place.task_index for place in places if place.env == "large"] == list(range(60))
    assert order.place(17) == places[17], "an earlier group asked for again"
    other = TaskOrder([EnvironmentShare(worlds[0])], seed=4)
    assert [other.place(index).task_index for index in range(20)] != small


def test_wrong_plans_are_told_in_words(doubles):
    with pytest.raises(ConfigError, match="different names"):
        doubles.scheduler(doubles.Engine(), doubles.Store(), [doubles.World(), doubles.World()])
    with pytest.raises(ConfigError, match="has no tasks"):
        doubles.scheduler(doubles.Engine(), doubles.Store(), [doubles.World(size=0)])
    with pytest.raises(ConfigError, match="in_flight must be at least 1"):
        doubles.scheduler(doubles.Engine(), doubles.Store(), [doubles.World()], in_flight=0)


def test_a_group_of_an_environment_that_is_gone_is_named(doubles):
    store = doubles.Store()

    async def stop():
        scheduler = doubles.scheduler(doubles.Engine(), store, [doubles.World("old", longest=9)])
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0.002)
        await scheduler.stop()
        await running

    doubles.run(stop())
    with pytest.raises(ConfigError, match="'old'"):
        doubles.run(doubles.scheduler(doubles.Engine(), store, [doubles.World("new")]).run())


def test_weights_that_go_back_are_refused(doubles):
    scheduler = doubles.scheduler(doubles.Engine(), doubles.Store(), [doubles.World()], version=5, step=2)
    with pytest.raises(ValueError, match="weights go forward"):
        scheduler.weights_published(5, 3)


async def test_a_thousand_episodes_cost_little_of_their_own(doubles):
    """Real time, no latency anywhere: what is left is the scheduler's own work per turn."""

    class Instant(doubles.Engine):
        async def generate(self, prompt_tokens, sampling, *, request_id, priority=0.0):
            import numpy as np

            from agentrl.policy import FinishReason, Generation

            one = np.array([doubles.STOP], np.int32)
            return Generation(one, np.zeros(1, np.float32), np.zeros(1, np.int32), FinishReason.STOP)

    store = doubles.Store()
    scheduler = doubles.scheduler(
        Instant(), store, [doubles.World()], in_flight=1000, staleness=10**6, total_groups=125, group_size=8
    )
    started = time.process_time()
    await scheduler.run()
    assert len(store.trajectories) == 1000
    assert time.process_time() - started < 5.0
