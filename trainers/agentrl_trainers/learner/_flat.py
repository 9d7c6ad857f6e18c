"""A global batch as flat arrays. Axis legend: K = sampled tokens of all rows, one row after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from agentrl_trainers.learner._rows import Row

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class FlatLesson:
    """What a critic learns at every sampled token, on the training device; as `Lesson`. H = value heads."""

    old_KH: torch.Tensor
    return_KH: torch.Tensor
    target_KH: torch.Tensor

    @classmethod
    def of(cls, rows: Sequence[Row], device: torch.device) -> FlatLesson | None:
        """Return the lesson of rows; None where they have none."""
        lessons = [row.lesson for row in rows if row.lesson is not None]
        if not lessons:
            return None
        if len(lessons) != len(rows):
            raise ValueError(f"{len(rows) - len(lessons)} of {len(rows)} rows have nothing for the critic to learn")
        return cls(
            torch.from_numpy(np.concatenate([lesson.old_KH for lesson in lessons])).to(device),
            torch.from_numpy(np.concatenate([lesson.return_KH for lesson in lessons])).to(device),
            torch.from_numpy(np.concatenate([lesson.target_KH for lesson in lessons])).to(device),
        )


@dataclass(frozen=True)
class FlatBatch:
    """What a step needs to know of every sampled token.

    Attributes:
        behaviour_K: Log-probs of the sampler, on the training device.
        advantage_K: Credit, on the training device.
        sequence_K: Number of the trajectory.
        group_K: Number of the trajectory's group; -1 = unknown.
        age_K: Trainer's version minus the version that sampled the token.
        masked_K: Older than the bound: never trained on.
        active_K: Needs a forward pass.
        lesson: What the critic learns; None without one.
    """

    behaviour_K: torch.Tensor
    advantage_K: torch.Tensor
    sequence_K: torch.Tensor
    group_K: torch.Tensor
    age_K: npt.NDArray[np.int64]
    masked_K: npt.NDArray[np.bool_]
    active_K: npt.NDArray[np.bool_]
    lesson: FlatLesson | None = None

    def __len__(self) -> int:
        return len(self.age_K)

    @classmethod
    def of(
        cls, rows: Sequence[Row], *, version: int, staleness: int, skip_rows: bool, device: torch.device
    ) -> FlatBatch:
        """Return the batch of rows.

        Args:
            rows: In the order that `pack` is given them.
            version: The trainer's.
            staleness: Largest age that is trained on.
            skip_rows: Leave out rows in which no token within the bound has an advantage or a value target.
            device: Where the loss is computed.

        Raises:
            ValueError: A token is of a version that the trainer has not made yet.
        """
        counts = [len(row.position_K) for row in rows]
        age_K = version - _concatenate([row.version_K for row in rows], np.int64)
        if len(age_K) and int(age_K.min()) < 0:
            row = next(row for row in rows if len(row.version_K) and int(row.version_K.max()) > version)
            raise ValueError(
                f"trajectory {row.name} has tokens of version {int(row.version_K.max())}, but the learner is at "
                f"version {version}: set `learner.version` to the number its weights are published under"
            )
        advantage_K = _concatenate([row.advantage_K for row in rows], np.float32)
        row_K = np.repeat(np.arange(len(rows)), counts)
        masked_K = age_K > staleness
        active_K = ~masked_K
        lesson = FlatLesson.of(rows, device)
        if skip_rows:
            credited = np.zeros(len(rows), bool)
            teaches_K = advantage_K != 0
            if lesson is not None:
                teaches_K |= lesson.target_KH.any(-1).cpu().numpy()
            np.logical_or.at(credited, row_K, active_K & teaches_K)
            active_K = active_K & credited[row_K]
        sequence_K = np.repeat(np.array([row.sequence for row in rows], np.int64), counts)
        return cls(
            behaviour_K=torch.from_numpy(_concatenate([row.behaviour_K for row in rows], np.float32)).to(device),
            advantage_K=torch.from_numpy(advantage_K).to(device),
            sequence_K=torch.from_numpy(sequence_K),
            group_K=torch.from_numpy(np.repeat(np.array([row.group for row in rows], np.int64), counts)),
            age_K=age_K,
            masked_K=masked_K,
            active_K=active_K,
            lesson=lesson,
        )

    def parts(self, count: int, random: np.random.Generator) -> list[npt.NDArray[np.bool_]]:
        """Return `count` masks [K] that split the batch at random by trajectory; fewer where there are too few."""
        sequence_K = self.sequence_K.numpy()
        sequences = np.unique(sequence_K)
        if count == 1:
            return [np.ones(len(self), bool)]
        pieces = np.array_split(random.permutation(sequences), min(count, max(1, len(sequences))))
        return [np.isin(sequence_K, piece) for piece in pieces]


def _concatenate(arrays: Sequence[npt.NDArray[Any]], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)
