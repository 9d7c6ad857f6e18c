"""The six actions: their words, their tool names, and how a policy's text becomes one of them."""

from __future__ import annotations

import enum
import re


class Action(enum.IntEnum):
    """What the agent can do; the numbers are the engine's own."""

    LEFT = 0
    """Turn left."""
    RIGHT = 1
    """Turn right."""
    FORWARD = 2
    """Take one step ahead."""
    PICK_UP = 3
    """Pick up the object one step ahead."""
    DROP = 4
    """Put what is carried on the free cell one step ahead."""
    TOGGLE = 5
    """Open or close the door one step ahead, unlock it with the key of its color, or open a box."""

    @property
    def word(self) -> str:
        """The action as text, e.g. "pick up"."""
        return self.name.lower().replace("_", " ")

    @property
    def tool(self) -> str:
        """Name of the tool that does the same."""
        return _TOOLS[self]


_TOOLS = {
    Action.LEFT: "turn_left",
    Action.RIGHT: "turn_right",
    Action.FORWARD: "go_forward",
    Action.PICK_UP: "pick_up",
    Action.DROP: "drop",
    Action.TOGGLE: "toggle",
}

_SYNONYMS = {
    "pickup": Action.PICK_UP,
    "move forward": Action.FORWARD,
}
_BY_PHRASE = (
    {action.word: action for action in Action}
    | {action.tool.replace("_", " "): action for action in Action}
    | _SYNONYMS
)

_TAGGED = re.compile(r"<action>(.*?)</action>", re.DOTALL | re.IGNORECASE)
_NOT_LETTERS = re.compile(r"[^a-z]+")


def parse_action(text: str) -> Action | None:
    """Return the action a policy wrote, or None where it is none of the six.

    Case, punctuation and spacing do not matter, and neither does what surrounds `<action>…</action>`; of several
    tagged actions the last counts.

    >>> parse_action("I see it. <action>Pick up!</action>")
    <Action.PICK_UP: 3>
    """
    tagged = _TAGGED.findall(text)
    phrase = _NOT_LETTERS.sub(" ", (tagged[-1] if tagged else text).lower()).strip()
    return _BY_PHRASE.get(phrase)
