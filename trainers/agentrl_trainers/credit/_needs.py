"""What a credit method cannot do without, so that a wrong combination fails before a run starts."""

from __future__ import annotations

import enum


class Need(enum.StrEnum):
    """Something beyond the rewards of groups that a method reads. Closed: a new need is a member with its remedy."""

    ANCHORS = "anchors"
    """Names of environment states, equal for equal states."""
    GROUND_TRUTH = "ground_truth"
    """The true answer of each task, to be scored by the policy."""
    ENTROPIES = "entropies"
    """Entropy of the policy at each sampled token."""
    CRITIC = "critic"
    """A value for each sampled token."""

    @property
    def what(self) -> str:
        """What is missing where it is not there, in words."""
        return _WORDS[self][0]

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _WORDS[self][1]


_WORDS: dict[Need, tuple[str, str]] = {
    Need.ANCHORS: (
        "anchors: the environment does not say when two states are equal",
        "define `anchor()` in the environment, returning a hash of its true state",
    ),
    Need.GROUND_TRUTH: (
        "ground truth: the tasks of the environment have no answer to be scored",
        "give every task an `answer`",
    ),
    Need.ENTROPIES: (
        "entropies: the policy engine does not report the entropy of what it samples",
        "use an engine that does, e.g. the embedded one",
    ),
    Need.CRITIC: (
        "a critic: nothing estimates values",
        "add a critic to the run",
    ),
}
