import asyncio
import dataclasses

import pytest

from agentrl.env._session import Opening
from agentrl.errors import ConfigError, PolicyError, StoreError
from agentrl.messages import Message
from agentrl.policy import SamplingParams
from agentrl.rollout import EpisodeIdentity, EpisodeLimits, EpisodeProgress, Phase, run_episode
from agentrl.trajectory import SpanKind, Status, StopReason

IDENTITY = EpisodeIdentity("run-g000003", 3, 1, seed=11)
LIMITS = EpisodeLimits(max_turns=6, max_tokens_per_turn=6, max_context=400, turn_timeout=5.0, episode_timeout=50.0)


def play(doubles, world, engine, *, index=3, limits=LIMITS, renderer=None, **more):
    task = world.task("train", index)
    sampling = SamplingParams(max_tokens=1)
    return run_episode(IDENTITY, world, task, engine, renderer or doubles.Renderer(), limits, sampling, **more)


def failing(call, error, turn=0):
    async def hook(session, name):
        if name == call and session.turn == turn:
            raise error

    return hook


def test_a_whole_episode_is_recorded_token_for_token(doubles):
    world, engine, log = doubles.World(), doubles.Engine(version=5), []

    async def append(record):
        assert world.opened[0].turn == record.index + 1, "the next turn went on before this one was durable"
        log.append(record)

    trajectory = doubles.run(play(doubles, world, engine, log_turn=append))
    assert doubles.check_exactness(engine, trajectory) == []
    assert trajectory.status is Status.OK and trajectory.stop_reason is StopReason.COMPLETED
    assert trajectory.id == "run-g000003-m1-r0" and trajectory.group_id == "run-g000003" and trajectory.member == 1
    assert (trajectory.env, trajectory.task_id, trajectory.seed) == ("countdown", "train-3", 3)
    assert trajectory.reward == pytest.approx(4 * 0.25 + 1.0)
    assert trajectory.reward_parts == {"solved": 1.0} and trajectory.metadata == {"success": True}
    assert [turn.anchor for turn in trajectory.turns] == [f"state {index}" for index in range(4)]
    assert [turn.observation for turn in trajectory.turns] == ["seen 1", "seen 2", "seen 3", ""]
    assert all(turn.valid == ("a" in turn.text) for turn in trajectory.turns)
    assert all(turn.tool_calls[0].name == "move" for turn in trajectory.turns)
    assert all(turn.timing.generate > 0 for turn in trajectory.turns)
    assert [record.index for record in log] == [0, 1, 2, 3]
    spans = [span for record in log for span in record.spans]
    assert spans == list(trajectory.segments[0].spans), "the turn log alone must rebuild the context"
    assert [span.kind for span in log[0].spans] == [SpanKind.PROMPT, SpanKind.ACTION, SpanKind.OBSERVATION]
    assert [record.turn for record in log] == list(trajectory.turns)
    assert engine.released == [trajectory.id] and world.opened[0].closed


def test_a_template_that_cannot_be_extended_opens_a_segment_per_turn(doubles):
    engine = doubles.Engine()
    trajectory = doubles.run(play(doubles, doubles.World(), engine, renderer=doubles.Renderer(rewrites=True)))
    assert len(trajectory.segments) == 4
    assert [turn.segment for turn in trajectory.turns] == [0, 1, 2, 3]
    assert doubles.check_exactness(engine, trajectory) == []
    last = doubles.Renderer().decode(trajectory.segments[3].spans[0].tokens)
    assert all(turn.text in last for turn in trajectory.turns[:3]) and "seen 3" in last


def test_the_same_seed_samples_the_same_episode_and_another_seed_does_not(doubles):
    def texts(identity):
        task = doubles.World().task("train", 3)
        arguments = (doubles.Engine(), doubles.Renderer(), LIMITS, SamplingParams(max_tokens=1))
        return [turn.text for turn in doubles.run(run_episode(identity, doubles.World(), task, *arguments)).turns]

    again = dataclasses.replace(IDENTITY, retry=1)
    assert texts(IDENTITY) == texts(again)
    assert texts(IDENTITY) != texts(dataclasses.replace(IDENTITY, seed=12))


def test_the_shorter_turn_limit_ends_it_as_truncated_with_its_reward(doubles):
    trajectory = doubles.run(play(doubles, doubles.World(max_turns=2), doubles.Engine()))
    assert (trajectory.status, trajectory.stop_reason) == (Status.TRUNCATED, StopReason.MAX_TURNS)
    assert len(trajectory.turns) == 2 and trajectory.reward == pytest.approx(1.5)
    assert trajectory.segments[0].spans[-1].kind is SpanKind.ACTION


def test_no_segment_outgrows_the_context(doubles):
    for max_context in range(5, 60):
        limits = dataclasses.replace(LIMITS, max_context=max_context)
        trajectory = doubles.run(play(doubles, doubles.World(), doubles.Engine(), limits=limits))
        assert all(len(segment.tokens()) <= max_context for segment in trajectory.segments)
        assert trajectory.reward is not None
        if trajectory.status is not Status.OK:
            assert (trajectory.status, trajectory.stop_reason) == (Status.TRUNCATED, StopReason.CONTEXT_OVERFLOW)


def test_an_unscored_episode_has_no_reward(doubles):
    trajectory = doubles.run(play(doubles, doubles.World(final=None), doubles.Engine()))
    assert trajectory.status is Status.OK and trajectory.reward is None


@pytest.mark.parametrize("call", ["reset", "step", "finish"])
def test_a_failing_environment_is_an_error_without_reward(doubles, call):
    turn = 4 if call == "finish" else 0
    world = doubles.World(hook=failing(call, KeyError("lost"), turn))
    engine = doubles.Engine()
    trajectory = doubles.run(play(doubles, world, engine))
    assert (trajectory.status, trajectory.stop_reason) == (Status.ERROR, StopReason.ENV_ERROR)
    assert trajectory.reward is None and trajectory.reward_parts == {}
    assert "countdown" in trajectory.error and "KeyError" in trajectory.error and "train-3" in trajectory.error
    assert world.opened[0].closed and engine.released


def test_a_hanging_environment_is_an_error_after_the_turn_timeout(doubles):
    async def hang(session, call):
        if call == "step":
            await asyncio.Event().wait()

    trajectory = doubles.run(play(doubles, doubles.World(hook=hang), doubles.Engine()))
    assert trajectory.stop_reason is StopReason.ENV_ERROR and "turn_timeout = 5 s" in trajectory.error
    assert len(trajectory.turns) == 1, "what was sampled is kept for people to see"


def test_an_environment_that_cannot_close_holds_nobody_up(doubles, caplog):
    async def hang(session, call):
        if call == "close":
            await asyncio.Event().wait()

    trajectory = doubles.run(play(doubles, doubles.World(hook=hang), doubles.Engine()))
    assert trajectory.status is Status.OK and "did not close" in caplog.text


def test_the_episode_timeout_truncates_and_keeps_the_turns(doubles):
    async def slow(session, call):
        if call == "step":
            await asyncio.sleep(2.0)

    limits = dataclasses.replace(LIMITS, episode_timeout=5.0)
    trajectory = doubles.run(play(doubles, doubles.World(hook=slow), doubles.Engine(), limits=limits))
    assert (trajectory.status, trajectory.stop_reason) == (Status.TRUNCATED, StopReason.TIMEOUT)
    assert [turn.observation for turn in trajectory.turns] == ["seen 1", "seen 2", ""]
    assert trajectory.reward == pytest.approx(2 * 0.25 + 1.0)


def test_a_silent_engine_is_cut_by_the_episode_timeout(doubles):
    trajectory = doubles.run(play(doubles, doubles.World(), doubles.Engine(token_seconds=1e6)))
    assert trajectory.stop_reason is StopReason.TIMEOUT and trajectory.turns == ()


def test_a_dead_engine_is_an_engine_error(doubles):
    engine = doubles.Engine()
    engine.fails = lambda request: PolicyError("out of memory")
    trajectory = doubles.run(play(doubles, doubles.World(), engine))
    assert (trajectory.status, trajectory.stop_reason) == (Status.ERROR, StopReason.ENGINE_ERROR)
    assert "out of memory" in trajectory.error and engine.released


def test_a_turn_log_that_fails_stops_the_episode_and_still_cleans_up(doubles):
    async def full(record):
        raise StoreError("disk full")

    world, engine = doubles.World(), doubles.Engine()
    with pytest.raises(StoreError, match="disk full"):
        doubles.run(play(doubles, world, engine, log_turn=full))
    assert world.opened[0].closed and engine.released


def test_a_misconfigured_environment_is_no_episode_error(doubles):
    with pytest.raises(ConfigError, match="no such level"):
        doubles.run(play(doubles, doubles.World(hook=failing("reset", ConfigError("no such level"))), doubles.Engine()))


@pytest.mark.parametrize("moment", [0.0, 0.0015, 0.01, 0.5, 1.2])
def test_cancellation_cleans_up_whenever_it_comes(doubles, moment):
    async def slow(session, call):
        await asyncio.sleep(0.5)

    world, engine = doubles.World(hook=slow), doubles.Engine()

    async def cancel():
        playing = asyncio.create_task(play(doubles, world, engine))
        await asyncio.sleep(moment)
        playing.cancel()
        await asyncio.sleep(0.1)
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing

    doubles.run(cancel())
    assert all(session.closed for session in world.opened)
    assert engine.running == 0 and (engine.released or not engine.contexts)


def test_progress_says_who_is_waited_for(doubles):
    seen, progress = [], EpisodeProgress()

    async def look(session, call):
        seen.append((call, progress.phase, progress.what))

    doubles.run(play(doubles, doubles.World(hook=look), doubles.Engine(), progress=progress))
    assert ("step", Phase.ENVIRONMENT, "step of turn 2") in seen
    assert progress.turns == 4 and progress.sampled_tokens > 0


def test_an_environment_that_reports_a_limit_of_its_own_is_truncated(doubles):
    class Limited(doubles.World):
        def session(self):
            session = super().session()
            step = session.step

            async def limited(message):
                return dataclasses.replace(await step(message), done=True, stop_reason=StopReason.MAX_TURNS)

            session.step = limited
            return session

    trajectory = doubles.run(play(doubles, Limited(), doubles.Engine()))
    assert (trajectory.status, trajectory.stop_reason) == (Status.TRUNCATED, StopReason.MAX_TURNS)


def test_a_prompt_longer_than_the_context_is_an_overflow_without_turns(doubles):
    class Wordy(doubles.World):
        def session(self):
            session = super().session()
            reset = session.reset

            async def wordy(task):
                await reset(task)
                return Opening((Message("user", "x" * 1000),))

            session.reset = wordy
            return session

    trajectory = doubles.run(play(doubles, Wordy(), doubles.Engine()))
    assert trajectory.stop_reason is StopReason.CONTEXT_OVERFLOW and trajectory.turns == ()
