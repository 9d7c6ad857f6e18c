import pytest

from agentrl.errors import EnvError
from agentrl.messages import Message
from agentrl.rollout import ActionPool, EpisodeLimits, demonstrate_episode
from agentrl.trajectory import SpanKind, Status, StopReason

LIMITS = EpisodeLimits(max_turns=12, max_tokens_per_turn=2, max_context=600)


def world_of(doubles, turns, **options):
    class World(doubles.World):
        def length(self, task):
            return turns

    return World(**options)


def demonstrate(doubles, world, *, index=0, renderer=None, limits=LIMITS, **options):
    task = world.task("train", index)
    return doubles.run(demonstrate_episode(world, task, renderer or doubles.Renderer(), limits, **options))


def test_the_expert_is_recorded_as_actions_no_policy_sampled(doubles):
    trajectory = demonstrate(doubles, world_of(doubles, 4))
    assert trajectory.status is Status.OK and trajectory.reward == pytest.approx(2.0)
    assert [turn.text for turn in trajectory.turns] == ["expert0", "expert1", "expert2", "expert0"]
    assert [turn.anchor for turn in trajectory.turns] == [f"state {index}" for index in range(4)]
    for turn in trajectory.turns:
        span = trajectory.action_span(turn)
        assert set(span.versions) == {-1} and set(span.logprobs) == {0.0}
        assert span.tokens[-1] == doubles.STOP


def test_the_context_is_the_one_a_policy_would_have_seen(doubles):
    trajectory = demonstrate(doubles, world_of(doubles, 3))
    renderer = doubles.Renderer()
    expected = list(renderer.start([Message("user", "go train-0")]))
    for turn in range(3):
        action = renderer.demonstrate(Message("assistant", f"expert{turn % 3}"))
        expected += [*action]
        if turn < 2:
            expected += [*renderer.extend(action, [Message("user", f"seen {turn + 1}")])]
    assert trajectory.segments[0].tokens().tolist() == expected


def test_disturbed_turns_are_seen_but_get_no_loss(doubles):
    pool = ActionPool([Message("assistant", "zap")])
    trajectory = demonstrate(doubles, world_of(doubles, 10), noise=0.5, seed=3, random_action=pool)
    renderer = doubles.Renderer()
    actions = [trajectory.action_span(turn) for turn in trajectory.turns]
    assert all(renderer.decode(span.tokens).startswith("expert") for span in actions)
    spans = trajectory.segments[0].spans
    observed = "".join(renderer.decode(span.tokens) for span in spans if span.kind is SpanKind.OBSERVATION)
    assert 0 < len(trajectory.turns) < 10, "some turns were disturbed and some were not"
    assert "zap" in observed
    assert trajectory.reward == pytest.approx(10 * 0.25 + 1.0), "rewards of disturbed turns belong to the total"


def test_the_same_seed_disturbs_the_same_turns(doubles):
    def spans(seed):
        trajectory = demonstrate(doubles, world_of(doubles, 10), noise=0.4, seed=seed)
        return [(span.kind, span.tokens.tolist()) for span in trajectory.segments[0].spans]

    assert spans(1) == spans(1)
    assert len({str(spans(seed)) for seed in range(4)}) > 1


def test_a_pool_learns_what_experts_do(doubles):
    pool = ActionPool()
    demonstrate(doubles, world_of(doubles, 5), random_action=pool)
    assert len(pool) == 3


def test_a_template_that_rewrites_gives_a_segment_per_turn(doubles):
    trajectory = demonstrate(doubles, world_of(doubles, 3), renderer=doubles.Renderer(rewrites=True))
    assert [turn.segment for turn in trajectory.turns] == [0, 1, 2]


def test_a_lost_expert_is_an_error(doubles):
    async def lose(session, call):
        if call == "demonstrate" and session.turn == 1:
            raise EnvError("the bot found no path")

    trajectory = demonstrate(doubles, world_of(doubles, 3, hook=lose))
    assert (trajectory.status, trajectory.stop_reason, trajectory.reward) == (Status.ERROR, StopReason.ENV_ERROR, None)
    assert "found no path" in trajectory.error


def test_limits_bind_the_expert(doubles):
    short = demonstrate(doubles, world_of(doubles, 50))
    assert (short.stop_reason, len(short.turns)) == (StopReason.MAX_TURNS, 12)
    for max_context in range(10, 120):
        narrow = demonstrate(doubles, world_of(doubles, 5), limits=EpisodeLimits(max_turns=12, max_context=max_context))
        assert all(len(segment.tokens()) <= max_context for segment in narrow.segments)


def test_noise_is_a_probability(doubles):
    with pytest.raises(ValueError, match="probability"):
        demonstrate(doubles, world_of(doubles, 1), noise=1.0)
