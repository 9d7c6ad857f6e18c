"""Observations and actions in words: stable, few, and read leniently."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.tasks import Task
from agentrl_environments.babyai import Action, BabyAI, level_names, parse_action, vocabulary
from agentrl_environments.babyai._words import split_words

# The worlds of the golden texts as the engine prints them: W wall, K key, L locked door, the agent as an arrow.
GO_TO_OBJ_0 = """
WGWGWGWGWGWGWGWG
WG            WG
WG            WG
WG            WG
WG      KG    WG
WG          <<WG
WG            WG
WGWGWGWGWGWGWGWG
"""
UNLOCK_LOCAL_1 = """
WGWGWGWGWGWGWGWG
WG            WG
WG            WG
WG  KR        WG
WG        >>  WG
WG            WG
WG            WG
WGWGLRWGWGWGWGWG
"""


def begin(level: str, seed: int, **settings) -> tuple[BabyAI, str]:
    env = BabyAI(level=level, **settings)
    return env, env.reset(Task(f"test-{seed}", "test", seed=seed))


def test_golden_text_of_go_to_obj():
    env, first = begin("GoToObj", 0)
    assert env._world.engine.pprint_grid() == GO_TO_OBJ_0.strip()
    assert first == "goal: go to the green key. green key 2 ahead 1 right wall 6 ahead"
    assert env.act("forward").observation == "green key 1 ahead 1 right wall 5 ahead"
    assert env.act("left").observation == "wall 2 ahead"
    assert env.act("forward").observation == "wall 1 ahead"
    assert env.act("forward").observation == "no effect. wall 1 ahead"


def test_golden_text_of_unlock_local():
    env, first = begin("UnlockLocal", 1, walls="around", admissible=True)
    middle = [row[14:30] for row in env._world.engine.pprint_grid().split("\n")[7:15]]
    assert middle == UNLOCK_LOCAL_1.strip().split("\n")
    assert first == "goal: open the door. wall 2 ahead 3 right can: left, right, forward"
    for action in ("right", "right", "forward", "forward", "forward"):
        env.act(action)
    assert env.act("right").observation == "red key 1 ahead wall 4 ahead 2 left can: left, right, pick up"
    assert env.act("pick up").observation == "carrying red key wall 4 ahead 2 left can: left, right, forward, drop"
    for action in ("right", "right", "forward"):
        env.act(action)
    assert env.act("forward").observation == (
        "carrying red key locked red door 1 ahead wall 2 right can: left, right, toggle"
    )


def test_the_mission_is_repeated_where_asked():
    env, _ = begin("GoToObj", 0, repeat_mission=True)
    assert env.act("forward").observation == "goal: go to the green key. green key 1 ahead 1 right wall 5 ahead"


def test_two_thousand_random_observations_use_no_word_beyond_the_vocabulary():
    rng, seen, count = random.Random(0), set(), 0
    levels = level_names()
    while count < 2_000:
        settings = {"admissible": rng.random() < 0.5, "walls": rng.choice(["ahead", "around"])}
        env, text = begin(rng.choice(levels), rng.randrange(10**6), **settings)
        seen.update(split_words(text))
        for _ in range(20):
            step = env.act(rng.choice([*(action.word for action in Action), "forward", "fly"]))
            seen.update(split_words(step.observation))
            count += 1
            if step.done:
                break
    assert seen <= vocabulary()
    assert len(vocabulary()) < 100


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("left", Action.LEFT),
        ("  Turn LEFT. ", Action.LEFT),
        ("pick up", Action.PICK_UP),
        ("pickup!", Action.PICK_UP),
        ("pick_up", Action.PICK_UP),
        ("go forward", Action.FORWARD),
        ("The key is ahead.\n<action>toggle</action> Done.", Action.TOGGLE),
        ("<action>left</action> no: <ACTION> Drop </ACTION>", Action.DROP),
    ],
)
def test_an_action_is_read_whatever_its_case_and_punctuation(text, action):
    assert parse_action(text) is action


@pytest.mark.parametrize(
    "text", ["", "fly", "left left", "go left or right", "<action></action>", "I turn left", "done"]
)
def test_what_is_no_single_action_is_none(text):
    assert parse_action(text) is None


@given(st.text())
def test_any_text_is_read_without_failing(text):
    assert parse_action(text) in {None, *Action}
