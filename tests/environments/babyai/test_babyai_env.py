"""The environment as its users meet it: settings, tasks, anchors, both forms of action, scoring."""

import random

import pytest

from agentrl.errors import ConfigError, EnvError
from agentrl.messages import ToolCall
from agentrl.tasks import Task
from agentrl_environments.babyai import Action, BabyAI, level_names
from agentrl_environments.babyai._env import FIRST_SEEDS, SIZES


def begin(seed: int = 0, **settings) -> BabyAI:
    env = BabyAI(**settings)
    env.reset(Task(f"test-{seed}", "test", seed=seed))
    return env


def anchors(level: str, seed: int, actions: list[Action]) -> list[str]:
    env = begin(seed, level=level)
    trail = [env.anchor()]
    for action in actions:
        if env.act(action.word).done:
            break
        trail.append(env.anchor())
    return trail


@pytest.mark.parametrize("level", ["GoToLocal", "PickupLoc", "KeyInBox", "BossLevel"])
def test_replaying_the_actions_gives_the_same_anchors(level):
    rng = random.Random(2)
    for seed in range(5):
        actions = rng.choices(list(Action), k=40)
        assert anchors(level, seed, actions) == anchors(level, seed, actions)


def test_anchors_differ_between_states_and_not_between_ways():
    turned = anchors("GoToObj", 0, [Action.LEFT] * 4)
    assert len(set(turned[:4])) == 4
    assert turned[4] == turned[0] == anchors("GoToObj", 0, [Action.RIGHT, Action.LEFT])[2]
    assert len({anchors("GoToObj", seed, [])[0] for seed in range(200)}) == 200


def test_splits_share_no_seed():
    ranges = {split: range(first, first + (SIZES[split] or 10**9)) for split, first in FIRST_SEEDS.items()}
    for split, seeds in ranges.items():
        for other, others in ranges.items():
            assert split == other or seeds[-1] < others[0] or others[-1] < seeds[0]
    tasks = BabyAI().tasks()
    assert tasks.splits() == ("train", "valid", "test")
    assert (tasks.size("train"), tasks.size("valid"), tasks.size("test")) == (None, 500, 1_000)
    assert tasks.task("train", 123_456).seed == 1_123_456
    assert tasks.task("test", 7) == tasks.task("test", 7)


def test_tools_and_text_are_the_same_game():
    rng = random.Random(5)
    for seed in range(10):
        by_text, by_tools = begin(seed, level="PickupLoc"), begin(seed, level="PickupLoc", actions="tools")
        assert by_tools.tool_names() == tuple(action.tool for action in Action)
        assert by_text.tool_names() == ()
        for action in rng.choices(list(Action), k=40):
            answer = by_text.act(action.word)
            assert answer == getattr(by_tools, action.tool)()
            assert by_text.anchor() == by_tools.anchor()
            if answer.done:
                break


def test_the_expert_speaks_the_form_of_the_episode():
    assert begin(0).demonstrate() == "forward"
    assert begin(0, actions="tools").demonstrate() == ToolCall("go_forward", {})


def test_success_scores_one_and_failure_nothing():
    env = begin(0)
    assert env.success() == 0.0
    for action in ("forward", "forward", "right"):
        step = env.act(action)
    assert step.done
    assert step.reward is None
    assert env.success() == 1.0
    assert env.metadata() == {"level": "GoToObj", "mission": "go to the green key", "success": True}


def test_a_mission_can_be_lost_for_good():
    env = begin(0, level="PickupDistDebug")
    rng = random.Random(0)
    for seed in range(200):
        env = begin(seed, level="PickupDistDebug")
        step = env.act("left")
        while not step.done:
            step = env.act(rng.choice(["left", "forward", "forward", "pick up"]))
        if env._turns < env._world.step_limit and not env.success():
            return
    pytest.fail("picking up the wrong object never lost a mission")


def test_an_unknown_action_is_told_what_there_is_and_costs_a_turn():
    env = begin(0, max_turns=3)
    before = env.anchor()
    step = env.act("fly")
    assert not step.valid
    assert not step.done
    assert step.observation.startswith("unknown action, write one of: left, right, forward, pick up, drop, toggle.")
    assert env.anchor() == before
    assert env.act("left").valid
    assert env.act("fly again").done
    assert not begin(0, actions="tools").reply("left").valid


def test_an_episode_ends_at_the_engines_own_limit():
    env = begin(0)
    steps = [env.act("left") for _ in range(64)]
    assert [step.done for step in steps] == [False] * 63 + [True]
    assert steps[-1].stop_reason == "max_turns", "the agent would look as if it had given up"
    assert env.success() == 0.0


def test_success_counts_however_late():
    env = begin(0, max_turns=1_000)
    for _ in range(800):
        env.act("left")
    for action in ("forward", "forward", "right"):
        env.act(action)
    assert env.success() == 1.0


def test_levels_go_by_short_name_and_full_id():
    assert begin(3, level="GoToObj").anchor() == begin(3, level="BabyAI-GoToObj-v0").anchor()
    assert "GoToObjS6" in level_names()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "GotoObject"}, "did you mean 'GoToObj'"),
        ({"level": "BabyAI-PickupLok-v0"}, "did you mean 'PickupLoc'"),
        ({"actions": "tool"}, "did you mean 'tools'"),
        ({"walls": "none"}, "expected 'ahead' or 'around'"),
        ({"max_turns": 0}, "expected at least 1"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        BabyAI(**settings)


def test_an_action_before_reset_is_an_error_of_the_environment():
    with pytest.raises(EnvError, match="call reset"):
        BabyAI().act("left")


def test_the_generator_is_silent(capfd):
    for seed in range(5):
        begin(seed, level="PickupLoc")
    assert capfd.readouterr() == ("", "")
