"""The expert: the engine's own bot, kept to its plan by being told what was really done."""

from __future__ import annotations

from typing import Any

from agentrl.errors import EnvError
from agentrl_environments.babyai._actions import Action
from agentrl_environments.babyai._world import World

MAX_SUBGOALS = 300
"""Subgoals the bot may push before it names an action; it uses a dozen at most unless it goes round in circles."""


class _LostError(Exception):
    """The bot has no next action."""


class _Plan(list[Any]):
    """The bot's stack of subgoals; it ends planning that goes round in circles, which the bot itself never notices."""

    pushed = 0

    def append(self, subgoal: Any) -> None:
        self.pushed += 1
        if self.pushed > MAX_SUBGOALS:
            raise _LostError(f"plans in circles, last at {subgoal}")
        super().append(subgoal)


class Expert:
    """Says the next action for a world, whatever was done before.

    It may begin in the middle of an episode. The bot mends its plan after actions that were not its own; where it
    loses itself, a fresh one plans from the present state, first putting down what the agent carries.

    Args:
        world: The world to act in.
        seed: Named in errors.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._seed = seed
        self._bot: Any = None
        self._next: Action | None = None
        self._problem = ""
        self._waiting = False

    def observe(self, action: Action) -> None:
        """Take note of an action that was just carried out, the expert's own or another."""
        if self._bot is not None:
            self._next = self._plan(action)

    def suggest(self) -> Action:
        """Return the next action; asking twice changes nothing.

        Raises:
            EnvError: The bot is lost: the mission has become impossible, or is beyond it.
        """
        if self._next is None:
            self._begin()
        if self._next is None:
            raise EnvError(
                f"the expert is lost on level {self._world.level.name}, seed {self._seed}: {self._problem}. "
                "Leave this episode out of the demonstrations"
            )
        return self._next

    def _begin(self) -> None:
        """Plan afresh from the present state."""
        from minigrid.utils.baby_ai_bot import BabyAIBot

        make_bot: Any = BabyAIBot
        self._bot = make_bot(self._world.engine)
        self._bot.stack = _Plan(self._bot.stack)
        self._bot.prev_fwd_cell = None
        self._next = self._plan(None, put_down=self._world.carrying is not None)

    def _plan(self, taken: Action | None, put_down: bool = False) -> Action | None:
        from minigrid.utils.baby_ai_bot import DisappearedBoxError

        self._bot.stack.pushed = 0
        try:
            if put_down:
                self._put_down_first()
            suggested = int(self._bot.replan(taken))
        # The bot gives up by its assertions; the others are what its code runs into in states it was not written for.
        except (AssertionError, AttributeError, IndexError, TypeError, RecursionError) as error:
            self._problem = f"{type(error).__name__} {error}".strip()
        except (DisappearedBoxError, _LostError) as error:
            self._problem = str(error)
        else:
            if suggested < len(Action):
                return Action(suggested)
            if not self._waiting:
                self._waiting = True
                return self._wait()
            self._problem = "it takes the mission for accomplished"
        self._bot = None
        return None

    def _wait(self) -> Action:
        """Return an action without effect: a mission accomplished at the start is noticed after an action only."""
        legal = self._world.legal()
        return next(action for action in (Action.DROP, Action.PICK_UP, Action.TOGGLE) if action not in legal)

    def _put_down_first(self) -> None:
        from minigrid.utils.baby_ai_bot import DropSubgoal, GoNextToSubgoal

        self._bot._process_obs()
        free = self._bot._find_drop_pos()
        if free is not None:
            self._bot.stack.append(DropSubgoal(self._bot))
            self._bot.stack.append(GoNextToSubgoal(self._bot, free))
