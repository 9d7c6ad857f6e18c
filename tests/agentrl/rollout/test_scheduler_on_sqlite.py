import asyncio

import pytest

from agentrl.store import SqliteStore


@pytest.mark.parametrize("moments", [(0.05,), (0.02, 0.06, 0.03)])
async def test_other_weights_after_a_stop_never_mix_with_tokens_logged_before(doubles, tmp_path, moments):
    """The store keeps a span's first bytes for ever: an attempt made again under new weights needs ids of its own."""
    engines = []

    async def hook(session, call):
        if call == "step":
            await asyncio.sleep(0.004)

    async def once(moment):
        engines.append(doubles.Engine(version=10 * len(engines), weights_matter=True))
        async with SqliteStore.open(tmp_path / "store.sqlite") as store:
            world = doubles.World(hook=hook)
            scheduler = doubles.scheduler(
                engines[-1], store, [world], version=engines[-1].version, staleness=9, total_groups=8, in_flight=6
            )
            running = asyncio.create_task(scheduler.run())
            if moment is not None:
                await asyncio.sleep(moment)
                await scheduler.stop(5.0)
            await running
            return await store.trajectories(), await store.open_groups()

    for moment in moments:
        await once(moment)
    trajectories, unfinished = await once(None)
    assert not unfinished and len(trajectories) == 24
    assert len({(trajectory.group_id, trajectory.member) for trajectory in trajectories}) == 24
    assert any(trajectory.retry for trajectory in trajectories), "no attempt was cut short: the test tests nothing"
    for trajectory in trajectories:
        maker = [engine for engine in engines if trajectory.id in engine.sampled][-1]
        assert doubles.check_exactness(maker, trajectory) == []
