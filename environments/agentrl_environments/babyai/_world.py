"""One episode of the engine: steps, what is seen, what is legal, and a hash of the true state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentrl_environments.babyai._actions import Action
from agentrl_environments.babyai._levels import Level
from agentrl_environments.babyai._view import View, look


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one action brought.

    Attributes:
        changed: Whether it had an effect.
        done: Whether the mission is accomplished or lost.
        success: Whether it is accomplished.
    """

    changed: bool
    done: bool
    success: bool


class World:
    """A level made from a seed. The engine's own limit on steps is told, not enforced: see `step_limit`.

    Args:
        level: What to make.
        seed: Decides everything random; the engine is deterministic after that.
    """

    def __init__(self, level: Level, seed: int) -> None:
        self.level = level
        self.engine = level.engine(**level.settings)
        self.engine.reset(seed=seed)
        self.mission: str = self.engine.mission
        self.step_limit: int = self.engine.max_steps
        """Steps the engine's authors allow for this very mission: 64 in one room, more in mazes."""
        # Its reward falls with the share of the limit used, below zero beyond it; here it only says success or not.
        self.engine.max_steps = 1 << 30
        walls = ((index, cell.color) for index, cell in enumerate(self.engine.grid.grid) if _is_wall(cell))
        self._fixed = repr((level.id, self.engine.width, self.mission, tuple(walls)))

    def step(self, action: Action) -> Outcome:
        """Carry out one action."""
        changed = action in self.legal()
        _, reward, done, _, _ = self.engine.step(action)
        return Outcome(changed, bool(done), bool(done) and reward > 0)

    def view(self) -> View:
        """Return what the agent sees."""
        engine = self.engine
        x, y = engine.agent_pos
        return look(engine.grid.grid, engine.width, engine.height, int(x), int(y), int(engine.agent_dir))

    @property
    def carrying(self) -> Any:
        """The engine's object that the agent carries, or None."""
        return self.engine.carrying

    def legal(self) -> tuple[Action, ...]:
        """Return the actions that would change the state."""
        ahead = self.engine.grid.get(*self.engine.front_pos)
        actions = [Action.LEFT, Action.RIGHT]
        if ahead is None:
            actions.append(Action.FORWARD)
            if self.carrying is not None:
                actions.append(Action.DROP)
            return tuple(actions)
        if ahead.can_overlap():
            actions.append(Action.FORWARD)
        if ahead.can_pickup() and self.carrying is None:
            actions.append(Action.PICK_UP)
        if ahead.type == "box" or (ahead.type == "door" and (not ahead.is_locked or self._has_key_of(ahead))):
            actions.append(Action.TOGGLE)
        return tuple(actions)

    def anchor(self) -> str:
        """Return a hash of the true state: grid, agent, what it carries, the mission and how far it is.

        The number of steps taken is left out: a state that is reached twice has the same anchor.
        """
        engine = self.engine
        x, y = engine.agent_pos
        things = [_state(cell, index) for index, cell in enumerate(engine.grid.grid) if _is_thing(cell)]
        state = (
            int(x),
            int(y),
            int(engine.agent_dir),
            _state(self.carrying),
            things,
            [_progress(part) for part in _parts(engine.instrs)],
        )
        return hashlib.blake2b((self._fixed + repr(state)).encode(), digest_size=12).hexdigest()

    def _has_key_of(self, door: Any) -> bool:
        held = self.carrying
        return held is not None and held.type == "key" and held.color == door.color


def _is_wall(cell: Any) -> bool:
    return cell is not None and cell.type == "wall"


def _is_thing(cell: Any) -> bool:
    return cell is not None and cell.type != "wall"


def _state(thing: Any, index: int = -1) -> tuple[Any, ...]:
    """Return everything of an object that can change or matter; a box hides another object."""
    if thing is None:
        return ()
    return index, *thing.encode(), _state(thing.contains)


def _parts(instruction: Any) -> Iterator[Any]:
    """Yield an instruction and, where it joins two, both of them."""
    yield instruction
    for side in ("instr_a", "instr_b"):
        if hasattr(instruction, side):
            yield from _parts(getattr(instruction, side))


def _progress(instruction: Any) -> tuple[Any, ...]:
    """Return how far an instruction is: halves done, and where the objects are that it speaks of.

    Which of two red balls was "on your left" at the start is decided then, and cannot be seen in the grid.
    """
    done = [getattr(instruction, half, None) == "success" for half in ("a_done", "b_done")]
    meant = [
        [None if thing.cur_pos is None else (int(thing.cur_pos[0]), int(thing.cur_pos[1])) for thing in words.obj_set]
        for field in ("desc", "desc_move", "desc_fixed")
        if (words := getattr(instruction, field, None)) is not None
    ]
    return *done, meant
