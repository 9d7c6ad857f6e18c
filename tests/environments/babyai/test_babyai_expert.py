"""The expert: solves what it is said to solve, also when disturbed, and says so where it cannot."""

import random

import pytest

from agentrl.errors import EnvError
from agentrl_environments.babyai import Action
from agentrl_environments.babyai._expert import Expert
from agentrl_environments.babyai._levels import find_level
from agentrl_environments.babyai._world import World


def play(level: str, seed: int, noise: float = 0.0) -> bool:
    """Play by the expert; with probability `noise` a turn is a random action instead. Return whether it succeeded."""
    world, rng = World(find_level(level), seed), random.Random(seed)
    expert = Expert(world, seed)
    for _ in range(world.step_limit):
        action = expert.suggest()
        assert action is expert.suggest()
        if rng.random() < noise:
            action = rng.choice(list(Action))
        outcome = world.step(action)
        if outcome.done:
            return outcome.success
        expert.observe(action)
    return False


@pytest.mark.parametrize("level", ["GoToObj", "GoToLocal", "PickupLoc"])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_easy_levels_are_solved(level, noise):
    assert sum(play(level, seed, noise) for seed in range(50)) >= 48


FURTHER = (
    "GoToObjMazeS4",
    "GoToDoor",
    "ActionObjDoor",
    "OpenDoorLoc",
    "OpenDoorsOrderN2",
    "UnlockLocal",
    "BlockedUnlockPickup",
    "PutNextLocal",
    "PutNextS5N2Carrying",
    "KeyCorridorS3R1",
    "MiniBossLevel",
    "GoToSeqS5R2",
)


@pytest.mark.parametrize("level", FURTHER)
def test_further_levels_are_solved(level):
    assert sum(play(level, seed) for seed in range(10)) >= 9


def test_a_mission_accomplished_at_the_start_needs_one_action_all_the_same():
    level = find_level("GoToObjDoor")
    seed = next(seed for seed in range(1_000) if World(level, seed).engine.instrs.verify(None) == "success")
    assert play("GoToObjDoor", seed)


def test_an_expert_may_begin_late_and_puts_down_what_it_finds_in_its_hands():
    world = World(find_level("PutNextLocal"), 3)
    rng = random.Random(1)
    while world.carrying is None:
        world.step(rng.choice([Action.LEFT, Action.FORWARD, Action.PICK_UP]))
    expert = Expert(world, 3)
    for _ in range(60):
        action = expert.suggest()
        outcome = world.step(action)
        if outcome.done:
            break
        expert.observe(action)
    assert outcome.success


def test_a_lost_expert_names_level_and_seed():
    expert = Expert(World(find_level("KeyInBox"), 5), 5)
    with pytest.raises(EnvError, match="level KeyInBox, seed 5"):
        expert.suggest()
