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
    PLANS = "plans"
    """What each turn says about its subgoal, and which of its tokens say it."""
    GREEDY = "greedy"
    """The reward of a greedy rollout of each task."""
    TRACKER = "tracker"
    """What is expected of each task from earlier steps."""
    PROBABILITIES = "probabilities"
    """Log-probs and summed squares of all probabilities at each sampled token, under the trainer's weights."""

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
        'set `[trainer.critic] kind = "head"` (a value head on the policy) or "model" (a model of its own)',
    ),
    Need.PLANS: (
        "plans: turns do not say whether they keep or switch their subgoal",
        "give `credit_batch` a `plan` of an environment whose agent writes one",
    ),
    Need.GREEDY: (
        "greedy rewards: no greedy rollout is made of each task",
        "give `credit_batch` the rewards of greedy rollouts as `baseline_N`",
    ),
    Need.TRACKER: (
        "tracked values: nothing keeps what is expected of each task",
        "train, where the run keeps them",
    ),
    Need.PROBABILITIES: (
        "probabilities: nothing computes the squared probabilities of all tokens",
        "train, where the trainer's weights give them",
    ),
}
