"""What the text tells is what the engine lets the agent see."""

import random

import pytest

from agentrl_environments.babyai import Action
from agentrl_environments.babyai._levels import find_level
from agentrl_environments.babyai._view import MIDDLE, VIEW
from agentrl_environments.babyai._world import World

LEVELS = (
    "GoToObj",
    "GoToLocal",
    "PickupLoc",
    "Unlock",
    "KeyCorridorS3R3",
    "FindObjS5",
    "BossLevel",
    "PutNextS5N2Carrying",
)
WALL, DOOR = 2, 4


def walk(level: str, seed: int, steps: int = 60):
    """Yield a world before and after every step of a random walk, mostly forward."""
    world, rng = World(find_level(level), seed), random.Random(seed)
    yield world
    for _ in range(steps):
        world.step(rng.choice([*Action, Action.FORWARD, Action.FORWARD, Action.TOGGLE]))
        yield world


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_visible_objects_and_walls_are_those_of_the_engines_image(level, seed):
    for world in walk(level, seed):
        grid, mask = world.engine.gen_obs_grid()
        image = grid.encode(mask).tolist()
        cells = {
            (VIEW - 1 - row, column - MIDDLE): tuple(image[column][row])
            for column in range(VIEW)
            for row in range(VIEW)
            if (column, row) != (MIDDLE, VIEW - 1)
        }
        view = world.view()
        told = {(seen.ahead, seen.side): seen.object.encode() for seen in view.objects}
        assert told == {place: cell for place, cell in cells.items() if cell[0] >= DOOR}
        for steps, places in (
            (view.wall_ahead, [(steps, 0) for steps in range(1, VIEW)]),
            (view.wall_left, [(0, -steps) for steps in range(1, MIDDLE + 1)]),
            (view.wall_right, [(0, steps) for steps in range(1, MIDDLE + 1)]),
        ):
            seen = [index for index, place in enumerate(places, start=1) if cells[place][0] == WALL]
            assert steps == (seen[0] if seen else None)


@pytest.mark.parametrize("level", ["GoToLocal", "BossLevel"])
def test_objects_are_told_nearest_first(level):
    for world in walk(level, seed=4):
        distances = [seen.ahead + abs(seen.side) for seen in world.view().objects]
        assert distances == sorted(distances)


@pytest.mark.parametrize("level", LEVELS)
def test_an_action_is_legal_exactly_where_it_changes_the_state(level):
    rng = random.Random(7)
    for seed in range(3):
        world = World(find_level(level), seed)
        for _ in range(60):
            before, legal, action = world.anchor(), world.legal(), rng.choice(list(Action))
            outcome = world.step(action)
            if outcome.done:
                break
            assert outcome.changed == (action in legal) == (world.anchor() != before), (seed, action)
