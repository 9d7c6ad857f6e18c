"""The order of tasks: a function of the seed and the group index alone, so that nothing about it needs to be stored."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from agentrl.env._session import EnvFactory
from agentrl.errors import ConfigError
from agentrl.rollout._identity import stable_seed


@dataclass(frozen=True, slots=True)
class EnvironmentShare:
    """An environment to train on.

    Attributes:
        factory: Opens its sessions; its name is unique in a run.
        split: Split whose tasks are used.
        weight: Share of groups, relative to the other environments.
    """

    factory: EnvFactory
    split: str = "train"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Where the task of a group is found."""

    env: str
    split: str
    task_index: int


class TaskOrder:
    """Which task each group gets.

    Environments take turns so that after any number of groups each has had its share, to within one group. A finite
    split is gone through in a freshly seeded permutation per epoch; an unlimited one in the order of its indices.

    Args:
        shares: The environments.
        seed: Seed of the permutations.

    Raises:
        ConfigError: A name occurs twice, a weight is not positive or a split has no tasks.
        TaskError: A split is unknown.
    """

    def __init__(self, shares: Sequence[EnvironmentShare], seed: int) -> None:
        names = [share.factory.name for share in shares]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"a run needs environments with different names, got {names}")
        for share in shares:
            if share.weight <= 0:
                raise ConfigError(f"environment {share.factory.name}: weight must be positive, got {share.weight}")
        self._shares = tuple(shares)
        self._sizes = [share.factory.tasks.size(share.split) for share in shares]
        for share, size in zip(shares, self._sizes, strict=True):
            if size is not None and size <= 0:
                raise ConfigError(f"environment {share.factory.name}: split {share.split!r} has no tasks")
        self._total_weight = sum(share.weight for share in shares)
        self._seed = seed
        self._counts = [0] * len(shares)
        self._index = 0
        self._permutations: dict[int, tuple[int, list[int]]] = {}

    def place(self, index: int) -> TaskPlace:
        """Return where the task of group `index` is found."""
        which, ordinal = self._turn_of(index)
        share, size = self._shares[which], self._sizes[which]
        task_index = ordinal if size is None else self._permuted(which, ordinal, size)
        return TaskPlace(share.factory.name, share.split, task_index)

    def _turn_of(self, index: int) -> tuple[int, int]:
        """Return the environment of a group and how many groups that environment had before."""
        if len(self._shares) == 1:
            return 0, index
        if index < self._index:
            self._counts, self._index = [0] * len(self._shares), 0
        while True:
            due = [
                (self._index + 1) * share.weight / self._total_weight - count
                for share, count in zip(self._shares, self._counts, strict=True)
            ]
            which = due.index(max(due))
            if self._index == index:
                return which, self._counts[which]
            self._counts[which] += 1
            self._index += 1

    def _permuted(self, which: int, ordinal: int, size: int) -> int:
        epoch, position = divmod(ordinal, size)
        cached = self._permutations.get(which)
        if cached is None or cached[0] != epoch:
            share = self._shares[which]
            order = list(range(size))
            random.Random(stable_seed(self._seed, share.factory.name, share.split, epoch)).shuffle(order)
            cached = self._permutations[which] = (epoch, order)
        return cached[1][position]
