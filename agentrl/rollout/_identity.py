"""Names and seeds that follow from what an episode is, so that nothing about them needs to be stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


def stable_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2^63) that depends on the parts alone, the same in every process and on every machine."""
    digest = hashlib.blake2b("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little") >> 1


def group_id(run_id: str, index: int) -> str:
    """Return the id of a group from its place in the run's task order."""
    return f"{run_id}-g{index:06d}"


@dataclass(frozen=True, slots=True)
class EpisodeIdentity:
    """Which episode this is.

    Attributes:
        group_id: Group it is compared within.
        group_index: Place of the group in the order of admission; earlier ones decode first.
        member: Index within the group.
        seed: Seed of all sampling in the episode; the same for every retry.
        retry: How many times it was started again after an infrastructure failure.
    """

    group_id: str
    group_index: int
    member: int
    seed: int
    retry: int = 0

    @property
    def trajectory_id(self) -> str:
        """The id of the trajectory, derived from run, group, member and retry."""
        return f"{self.group_id}-m{self.member}-r{self.retry}"

    def span_id(self, index: int) -> str:
        """Return the id of the trajectory's span number `index`, counted over all segments."""
        return f"{self.trajectory_id}/{index}"

    def turn_seed(self, turn: int) -> int:
        """Return the sampling seed of a turn. Retries share it: under the same weights they sample the same tokens."""
        return stable_seed(self.seed, turn)
