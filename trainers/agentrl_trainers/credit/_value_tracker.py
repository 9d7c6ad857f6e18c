"""What a run expects of each task, kept over steps (single-stream policy optimisation)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from agentrl.errors import ConfigError


class ValueTracker:
    """A running value per task that forgets as the policy moves (Xu & Ding 2025, arXiv 2509.13232).

    The paper's Beta counts α, β with v = α/(α+β), kept as value and weight N = α + β: an update multiplies N by
    ρ = clip(2^(−D/D_half), ρ_min, ρ_max), D being how far the policy moved since, and adds the new rewards. For
    rewards within [0, 1] that is α ← ρα + r, β ← ρβ + 1 − r; others need no rescaling. A task not met before has
    value 0.5 and the weight 1/(1 − ρ_min).

    Constants are those of the authors' recipe, `least_kept` is from notes on the paper.
    """

    def __init__(
        self, *, half_life: float = 0.06, least_kept: float = 0.875, most_kept: float = 0.96, initial: float = 0.5
    ) -> None:
        """Begin with no task.

        Args:
            half_life: D_half, divergence at which old rewards count half.
            least_kept: ρ_min, within [0, 1).
            most_kept: ρ_max.
            initial: Value of a task not met before.
        """
        if not (0 <= least_kept < 1 and least_kept <= most_kept <= 1 and half_life > 0):
            raise ConfigError(
                f"value tracker: half_life {half_life}, least_kept {least_kept}, most_kept {most_kept}; expected "
                "half_life > 0 and 0 <= least_kept < 1, least_kept <= most_kept <= 1"
            )
        self._half_life = half_life
        self._least = least_kept
        self._most = most_kept
        self._initial = (initial, 1 / (1 - least_kept))
        self._tracked: dict[str, tuple[float, float]] = {}

    def values(self, tasks: Sequence[str], *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return what is expected of each task [N], by its name."""
        return torch.tensor([self._tracked.get(task, self._initial)[0] for task in tasks], dtype=dtype)

    def update(self, tasks: Sequence[str], rewards: Sequence[float], divergence: float) -> None:
        """Take in the rewards of a batch, after their advantages were taken.

        Args:
            tasks: Task of each reward; several rewards of one task decay it once.
            rewards: New rewards.
            divergence: D of the batch, 0 or more.
        """
        kept = min(max(math.exp2(-divergence / self._half_life), self._least), self._most)
        seen: dict[str, list[float]] = {}
        for task, reward in zip(tasks, rewards, strict=True):
            seen.setdefault(task, []).append(reward)
        for task, new in seen.items():
            value, weight = self._tracked.get(task, self._initial)
            total = kept * weight + len(new)
            self._tracked[task] = ((kept * weight * value + sum(new)) / total, total)

    def state(self) -> dict[str, Any]:
        """Return JSON values that `restore` takes: what a checkpoint keeps."""
        return {task: list(pair) for task, pair in self._tracked.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._tracked = {task: (float(value), float(weight)) for task, (value, weight) in state.items()}
