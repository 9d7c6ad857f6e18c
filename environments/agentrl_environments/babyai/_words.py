"""Observations in words: few of them, always the same ones, every word worth a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentrl_environments.babyai._actions import Action
from agentrl_environments.babyai._view import VIEW, View

NO_EFFECT = "no effect."
"""Begins the answer to an action that changed nothing: a step against a wall, a pick up of nothing."""


def system(*, by_tools: bool) -> str:
    """Return the system message."""
    return (
        "Reach the goal with the tools."
        if by_tools
        else f"Reach the goal. Write one action: {_actions(tuple(Action))}."
    )


def unknown(*, by_tools: bool) -> str:
    """Return the answer to what is none of the six actions."""
    actions = _actions(tuple(Action), by_tools=by_tools)
    return f"call a tool: {actions}." if by_tools else f"unknown action, write one of: {actions}."


def goal(mission: str) -> str:
    """Return the mission as it is told."""
    return f"goal: {mission}."


def describe(
    view: View, carrying: Any = None, *, around: bool = False, legal: Sequence[Action] = (), by_tools: bool = False
) -> str:
    """Return a view in words, nearest object first: "red ball 2 ahead 1 left closed blue door 3 right wall 4 ahead".

    Args:
        view: What the agent sees.
        carrying: The engine's object that it carries, or None.
        around: Also tell the steps to the walls left and right, where seen.
        legal: Actions to list as possible; none leaves the list out.
        by_tools: List them by the names of the tools.
    """
    parts = []
    if carrying is not None:
        parts.append(f"carrying {_name(carrying)}")
    parts.extend(f"{_name(seen.object)} {_place(seen.ahead, seen.side)}" for seen in view.objects)
    walls = [(view.wall_ahead, "ahead")]
    if around:
        walls += [(view.wall_left, "left"), (view.wall_right, "right")]
    told = [f"{steps} {where}" for steps, where in walls if steps is not None]
    if told:
        parts.append(f"wall {' '.join(told)}")
    if not parts:
        parts.append("nothing in view")
    if legal:
        parts.append(f"can: {_actions(legal, by_tools=by_tools)}")
    return " ".join(parts)


def vocabulary() -> frozenset[str]:
    """Return every word, number and sign of system texts, observations, missions and text actions; no others occur."""
    texts = [
        NO_EFFECT,
        *(system(by_tools=by_tools) for by_tools in (False, True)),
        *(unknown(by_tools=by_tools) for by_tools in (False, True)),
        *map(str, range(VIEW)),
        "red green blue purple yellow grey",
        "ball box key door open closed locked wall",
        "carrying ahead left right nothing in view can: ,",
        "goal: go to pick up put open the a object next to , then and after you in front of you behind on your .",
    ]
    return frozenset(word for text in texts for word in split_words(text))


def split_words(text: str) -> list[str]:
    """Return the words and signs of a text, as a tokenizer of whole words would."""
    for sign in ",.:":
        text = text.replace(sign, f" {sign} ")
    return text.split()


def _name(thing: Any) -> str:
    if thing.type != "door":
        return f"{thing.color} {thing.type}"
    state = "open" if thing.is_open else "locked" if thing.is_locked else "closed"
    return f"{state} {thing.color} door"


def _place(ahead: int, side: int) -> str:
    parts = []
    if ahead:
        parts.append(f"{ahead} ahead")
    if side:
        parts.append(f"{abs(side)} {'right' if side > 0 else 'left'}")
    return " ".join(parts)


def _actions(actions: Sequence[Action], *, by_tools: bool = False) -> str:
    return ", ".join(action.tool if by_tools else action.word for action in actions)
