"""Rows: what a learner trains on, one per context window. Axis legend: L = tokens of a row, K = its sampled tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from agentrl.trajectory import Trajectory

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Lesson:
    """What a critic learns at the sampled tokens of a row. H = value heads.

    Attributes:
        old_KH: Its values when credit was assigned.
        return_KH: Its targets.
        target_KH: Where it learns.
    """

    old_KH: Float32
    return_KH: Float32
    target_KH: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One segment of a trajectory with the credit of its sampled tokens.

    Attributes:
        tokens_L: All tokens of the context window.
        position_K: Where in it the sampled tokens are, ascending.
        behaviour_K: Log-probs the sampler reported.
        version_K: Policy version that sampled each.
        advantage_K: Credit of each.
        sequence: Number of the trajectory within the batch; segments of one trajectory share it.
        name: Id of the trajectory, for messages.
        group: Number of its group within the batch; -1 = unknown.
        lesson: What a critic learns from it.
    """

    tokens_L: Int32
    position_K: Int64
    behaviour_K: Float32
    version_K: Int32
    advantage_K: Float32
    sequence: int
    name: str = ""
    group: int = -1
    lesson: Lesson | None = None

    def __post_init__(self) -> None:
        count = len(self.position_K)
        for name in ("behaviour_K", "version_K", "advantage_K"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"row of {self.name}: {len(getattr(self, name))} {name} for {count} sampled tokens")
        if count and int(self.position_K[0]) < 1:
            raise ValueError(f"row of {self.name}: the first token was sampled, but has nothing to be predicted from")


def make_rows(trajectories: Sequence[Trajectory], advantage_K: torch.Tensor, lesson: Lesson | None = None) -> list[Row]:
    """Return one row per segment that has sampled tokens.

    Args:
        trajectories: The very ones, in the order, that `credit_batch` was given.
        advantage_K: What `assign` returned for them: one per sampled token, in the order of turns.
        lesson: For a critic, in the order of turns too.

    Raises:
        ValueError: There are more or fewer advantages than sampled tokens.
    """
    credit_K = advantage_K.detach().to("cpu", torch.float32).numpy()
    sampled = sum(trajectory.sampled_tokens() for trajectory in trajectories)
    if len(credit_K) != sampled:
        raise ValueError(f"{len(credit_K)} advantages for {sampled} sampled tokens: were other trajectories assigned?")
    rows = []
    start = 0
    groups: dict[str, int] = {}
    for number, trajectory in enumerate(trajectories):
        for tokens_L, position_K, order_K in segments(trajectory):
            behaviour, versions = zip(*_sampled(trajectory), strict=True)
            rows.append(
                Row(
                    tokens_L=tokens_L,
                    position_K=position_K,
                    behaviour_K=np.concatenate(behaviour)[order_K],
                    version_K=np.concatenate(versions)[order_K],
                    advantage_K=credit_K[start + order_K],
                    sequence=number,
                    name=trajectory.id,
                    group=groups.setdefault(trajectory.group_id, len(groups)),
                    lesson=None if lesson is None else _part(lesson, start + order_K),
                )
            )
        start += trajectory.sampled_tokens()
    return rows


def turn_order(trajectories: Sequence[Trajectory]) -> Int64:
    """Return, for the sampled tokens of all rows one after another, their numbers in the order of turns [K].

    Values by row become values by turn with `by_turn[turn_order(trajectories)] = by_row`.
    """
    starts = np.cumsum([0, *(trajectory.sampled_tokens() for trajectory in trajectories)])
    parts = [
        start + order_K
        for start, trajectory in zip(starts, trajectories, strict=False)
        for _, _, order_K in segments(trajectory)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _part(lesson: Lesson, chosen_K: Int64) -> Lesson:
    return Lesson(lesson.old_KH[chosen_K], lesson.return_KH[chosen_K], lesson.target_KH[chosen_K])


def segments(trajectory: Trajectory) -> Iterator[tuple[Int32, Int64, Int64]]:
    """Yield each segment with sampled tokens: its tokens, where the sampled are, and their numbers in turn order."""
    starts = np.cumsum([0, *(len(trajectory.action_span(turn)) for turn in trajectory.turns)])
    for index, segment in enumerate(trajectory.segments):
        offsets = np.cumsum([0, *(len(span) for span in segment.spans)])
        actions = sorted((turn.action, number) for number, turn in enumerate(trajectory.turns) if turn.segment == index)
        positions = [np.arange(offsets[span], offsets[span + 1]) for span, _ in actions]
        order = [np.arange(starts[number], starts[number + 1]) for _, number in actions]
        if positions and sum(map(len, positions)):
            yield segment.tokens(), np.concatenate(positions), np.concatenate(order)


def _sampled(trajectory: Trajectory) -> Iterator[tuple[Float32, Int32]]:
    for turn in trajectory.turns:
        span = trajectory.action_span(turn)
        if span.logprobs is None or span.versions is None:
            raise ValueError(f"action span {span.id} has no log-probs or versions")
        yield span.logprobs, span.versions
