"""Experts, chance and policies play real episodes; what fails is retried, then reported as an error."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from agentrl.env import LocalEnv, load
from agentrl.errors import ConfigError
from agentrl.evaluation import EnginePlayer, ExpertPlayer, Outcome, RandomPlayer, evaluate, survey_actions
from agentrl.evaluation._run import default_limits
from agentrl.messages import Message
from agentrl.rendering import ParsedAction
from agentrl.rollout._limits import EpisodeLimits
from agentrl.testing import CountdownDouble, CounterToolsDouble, ScriptedEngine

WORDS = ["<end>", "down", "up", "stop", "value"]


class WordRenderer:
    """One token a word: enough for the countdown game."""

    stop_token_ids = (0,)

    def start(self, messages, tools=()):
        return self._tokens(messages)

    def extend(self, action, messages):
        return self._tokens(messages)

    def parse(self, action):
        text = " ".join(WORDS[token] for token in action if token)
        return ParsedAction(Message("assistant", text), text, 0 in action)

    def demonstrate(self, message):
        return np.array([WORDS.index(message.content), 0], np.int32)

    def decode(self, tokens):
        return " ".join(str(token) for token in tokens)

    def _tokens(self, messages):
        # The value said last, so that a script can read the state off the prompt.
        return np.array([10 + int(messages[-1].content.split()[-1])], np.int32)


def play_down(prompt: np.ndarray, sampling: object) -> list[int]:
    return [WORDS.index("stop" if prompt[-1] == 10 else "down"), 0]


async def test_the_expert_solves_every_task_and_episodes_run_side_by_side() -> None:
    factory = LocalEnv(CountdownDouble, {"seconds_per_turn": 0.02})
    clock = time.monotonic()
    report = await evaluate(factory, ExpertPlayer(), limit=16, in_flight=16)
    spent = time.monotonic() - clock
    assert report.reward is not None
    assert report.scored == 16
    assert report.reward.mean > 1
    assert report.stop_reasons == {"completed": 16}
    assert spent < 0.7 * sum(outcome.seconds for outcome in report.outcomes)
    assert [outcome.task_id for outcome in report.outcomes] == [f"test-{index}" for index in range(16)]


async def test_chance_draws_from_the_experts_actions_and_repeats_by_seed() -> None:
    factory = LocalEnv(CountdownDouble, {})
    actions = await survey_actions(factory, "train", default_limits(factory))
    assert actions.notes == "uniform over the 2 actions the expert takes"
    reports = [await evaluate(factory, RandomPlayer(actions), limit=20, attempts=2, seed=seed) for seed in (1, 1, 2)]
    rewards = [[outcome.reward for outcome in report.outcomes] for report in reports]
    assert rewards[0] == rewards[1] != rewards[2]
    best = await evaluate(factory, ExpertPlayer(), limit=20)
    assert reports[0].reward is not None and best.reward is not None
    assert reports[0].reward.mean < best.reward.mean


async def test_chance_calls_tools_by_their_schemas_where_there_is_no_expert() -> None:
    class NoExpert(CounterToolsDouble):
        demonstrate = CounterToolsDouble.__mro__[-2].demonstrate  # type: ignore[attr-defined]

    factory = LocalEnv(NoExpert, {})
    assert not factory.has_expert
    actions = await survey_actions(factory, "train", default_limits(factory))
    report = await evaluate(factory, RandomPlayer(actions), limit=10)
    assert report.scored == 10
    assert sum(outcome.tool_calls for outcome in report.outcomes) > 0


async def test_a_policy_plays_through_engine_and_renderer() -> None:
    factory = LocalEnv(CountdownDouble, {})
    engine = ScriptedEngine(play_down)
    seen: list[Outcome] = []
    told: list[str] = []
    player = EnginePlayer(engine, WordRenderer(), 0.0, lambda trajectory: told.append(trajectory.task_id))
    report = await evaluate(factory, player, limit=8, attempts=2, in_flight=4, on_outcome=seen.append)
    expert = await evaluate(factory, ExpertPlayer(), limit=8)
    assert report.reward is not None and expert.reward is not None
    assert report.reward.mean == pytest.approx(expert.reward.mean)
    assert len(seen) == len(told) == 16
    assert report.means["tokens"] == 2 * report.means["turns"]
    assert {call.sampling.temperature for call in engine.calls} == {0.0}


async def test_attempts_at_one_task_have_different_seeds() -> None:
    factory = LocalEnv(CountdownDouble, {})
    engine = ScriptedEngine(play_down)
    await evaluate(factory, EnginePlayer(engine, WordRenderer()), limit=1, attempts=3)
    first_turns = [call for call in engine.calls if len(call.prompt) == 1]
    assert len({call.sampling.seed for call in first_turns}) == 3


async def test_a_failing_environment_is_tried_again_and_then_an_error() -> None:
    factory = LocalEnv(CountdownDouble, {"fail_at_turn": 0})
    report = await evaluate(factory, ExpertPlayer(), limit=3, retries=1)
    assert report.scored == 0
    assert report.reward is None and report.success is None
    assert report.retried == 3
    assert sum(report.errors.values()) == 3
    assert "asked to fail at turn 0" in next(iter(report.errors))


async def test_a_slow_environment_is_an_error_after_its_deadline() -> None:
    factory = LocalEnv(CountdownDouble, {"seconds_per_turn": 0.3})
    limits = EpisodeLimits(turn_timeout=0.05)
    report = await evaluate(factory, ExpertPlayer(), limit=1, retries=0, limits=limits)
    assert "no answer within" in next(iter(report.errors))


async def test_an_episode_over_its_time_is_an_error_too() -> None:
    factory = LocalEnv(CountdownDouble, {"seconds_per_turn": 0.05})
    limits = EpisodeLimits(episode_timeout=0.08)
    report = await evaluate(factory, ExpertPlayer(), limit=4, retries=0, limits=limits)
    assert report.scored == 0
    assert any("not over within episode_timeout = 0.08 s" in words for words in report.errors)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"split": "tset"}, "no split 'tset'; it has train, test"), ({"limit": 0}, "nothing to evaluate")],
)
async def test_a_wrong_split_or_nothing_to_do_is_said_at_once(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        await evaluate(LocalEnv(CountdownDouble, {}), ExpertPlayer(), **changes)


async def test_a_mistake_of_configuration_ends_the_whole_with_one_error() -> None:
    class Wrong(CountdownDouble):
        def reset(self, task):
            raise ConfigError("no engine here")

    with pytest.raises(ConfigError, match="no engine here"):
        async with asyncio.timeout(10):
            await evaluate(LocalEnv(Wrong, {}), ExpertPlayer(), limit=4)


async def test_babyai_expert_and_chance_are_apart() -> None:
    pytest.importorskip("minigrid")
    factory = load("babyai", level="GoToObj")
    expert = await evaluate(factory, ExpertPlayer(), limit=20)
    chance = await evaluate(
        factory, RandomPlayer(await survey_actions(factory, "train", default_limits(factory))), limit=20
    )
    assert expert.success is not None and chance.success is not None
    assert expert.success.mean == 1.0
    assert chance.success.mean < 0.6
