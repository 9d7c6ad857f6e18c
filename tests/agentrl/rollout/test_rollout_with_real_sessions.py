"""The agent loop over real sessions on threads of their own, and over the shipped doubles."""

import asyncio
import re
import time

import pytest

from agentrl import load
from agentrl.policy import SamplingParams
from agentrl.rollout import EpisodeLimits, collect, demonstrate_episode
from agentrl.testing import CountdownDouble, ScriptedEngine
from agentrl.trajectory import Status, StopReason

LIMITS = EpisodeLimits(max_turns=8, max_tokens_per_turn=8, max_context=2000, turn_timeout=1.5, episode_timeout=20.0)


def count_down(renderer):
    def script(prompt, sampling):
        value = int(re.findall(r"value (\d+)", renderer.decode(prompt))[-1])
        return [ord(letter) for letter in ("down" if value else "stop")]

    return ScriptedEngine(script, slots=4)


async def test_an_agent_that_knows_the_game_wins_it(doubles):
    renderer = doubles.Renderer()
    engine = count_down(renderer)
    world = load(CountdownDouble)
    sampling = SamplingParams(max_tokens=1)
    found = [t async for t in collect(world, "train", range(8), engine, renderer, LIMITS, sampling, in_flight=8)]
    assert len(found) == 8 and all(t.status is Status.OK for t in found)
    for trajectory in found:
        start = 1 + trajectory.seed % 4
        assert [turn.text for turn in trajectory.turns] == ["down"] * start + ["stop"]
        assert trajectory.reward == pytest.approx(0.1 * start + 1.0)
        assert len({turn.anchor for turn in trajectory.turns}) == start + 1
    assert sorted(engine.released) == sorted(trajectory.id for trajectory in found)


async def test_the_expert_of_a_real_session_recovers_from_disturbances(doubles):
    world = load(CountdownDouble)
    limits = EpisodeLimits(max_turns=40, max_context=4000)
    for seed in range(5):
        task = world.tasks.task("train", seed)
        trajectory = await demonstrate_episode(world, task, doubles.Renderer(), limits, seed=seed, noise=0.4)
        assert trajectory.status is Status.OK and trajectory.turns[-1].text == "stop"
        assert trajectory.reward == pytest.approx(1.0 + 0.1 * (1 + seed % 4))


async def test_a_world_whose_thread_hangs_is_an_error_and_the_others_go_on(doubles):
    renderer = doubles.Renderer()

    class Hanging(CountdownDouble):
        def begin_turn(self):
            if self.value == 4:
                time.sleep(2.5)
            super().begin_turn()

    sampling = SamplingParams(max_tokens=1)
    arguments = (load(Hanging), "train", range(8), count_down(renderer), renderer, LIMITS, sampling)
    async with asyncio.timeout(15):
        found = [t async for t in collect(*arguments, in_flight=8, retries=0)]
    hung = [t for t in found if t.status is Status.ERROR]
    assert len(found) == 8 and {t.seed % 4 for t in hung} == {3} and len(hung) == 2
    assert all(t.stop_reason is StopReason.ENV_ERROR and "turn_timeout" in t.error for t in hung)
