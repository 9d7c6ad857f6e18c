"""The credit of a run: its method with all that it needs beyond the trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from agentrl.config import RunConfig, TrainerSection
from agentrl.errors import ConfigError
from agentrl.rollout import EnvironmentShare
from agentrl.trajectory import Trajectory
from agentrl_trainers.credit import (
    Credit,
    CreditBatch,
    Need,
    ValueTracker,
    assign_with_targets,
    check,
    composition,
    credit_batch,
)
from agentrl_trainers.learner import Learner, Lesson, Row, StepReport, make_rows, turn_order

PROVIDED = frozenset({Need.ENTROPIES, Need.TRACKER, Need.PROBABILITIES})
"""What every run has: the embedded engine reports entropies, the trainer keeps the rest."""


def check_credit(config: RunConfig, shares: Sequence[EnvironmentShare]) -> None:
    """Refuse a credit method that is unknown, has no such option, or needs what this run lacks.

    Raises:
        ConfigError: The message says what is missing and how to add it.
    """
    name = config.trainer.credit
    available = set(PROVIDED)
    if config.trainer.critic.kind != "none":
        available.add(Need.CRITIC)
    if all(share.factory.has_anchors for share in shares):
        available.add(Need.ANCHORS)
    if Need.GROUND_TRUTH in composition(name).needs:
        raise ConfigError(
            f"trainer.credit = {name!r} needs the policy's belief in the true answer after each turn, which a run does "
            "not score yet; score recorded trajectories with agentrl_trainers.credit.information, or choose another "
            "method for the run, e.g. gigpo or empg"
        )
    check(name, available, config.trainer.credit_options)


def value_heads(section: TrainerSection) -> int:
    """Return how many values per token the credit method asks of a critic; 0 = it needs none."""
    method = composition(section.credit)
    return method.value_heads if Need.CRITIC in method.needs else 0


class RunCredit:
    """Turns the trajectories of a step into rows with credit.

    A critic's values are taken before the step's update, tracked values before they learn of the step's rewards.
    """

    def __init__(self, learner: Learner, section: TrainerSection) -> None:
        """Use a learner's weights and critic for the method of `[trainer]`."""
        self._learner = learner
        self._section = section
        self._needs = composition(section.credit).needs
        self._tracker = ValueTracker()

    def rows(self, trajectories: Sequence[Trajectory]) -> list[Row]:
        """Return the rows to train on. Blocks: belongs on the trainer's thread."""
        batch = credit_batch(trajectories)
        bare = make_rows(trajectories, torch.zeros(len(batch.turn_K)))
        order_K = torch.from_numpy(turn_order(trajectories))
        if Need.CRITIC in self._needs:
            value_KH = _by_turn(self._learner.values(bare).cpu(), order_K)
            batch = replace(batch, value_K=value_KH[:, 0] if value_KH.shape[1] == 1 else value_KH)
        if Need.PROBABILITIES in self._needs:
            batch = replace(
                batch,
                logprob_K=_by_turn(self._learner.logprobs(bare)[0].cpu(), order_K),
                squared_K=_by_turn(self._learner.squares(bare).cpu(), order_K),
            )
        if Need.TRACKER in self._needs:
            batch = replace(batch, baseline_N=self._tracker.values(_tasks(trajectories)))
        credit = assign_with_targets(self._section.credit, batch, **self._section.credit_options)
        return make_rows(trajectories, credit.advantage_K, _lesson(batch, credit))

    def learn(self, trajectories: Sequence[Trajectory], report: StepReport) -> None:
        """Take in what a step's rewards say about its tasks, after the step."""
        if Need.TRACKER in self._needs:
            rewards = [trajectory.reward or 0.0 for trajectory in trajectories]
            self._tracker.update(_tasks(trajectories), rewards, max(0.0, report.kl_behaviour))

    def state(self) -> dict[str, Any]:
        """Return JSON values that a checkpoint keeps."""
        return {"tracked": self._tracker.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self._tracker.restore(state.get("tracked", {}))


def _by_turn(values_by_row: torch.Tensor, order_K: torch.Tensor) -> torch.Tensor:
    by_turn = torch.empty_like(values_by_row)
    by_turn[order_K] = values_by_row
    return by_turn


def _tasks(trajectories: Sequence[Trajectory]) -> list[str]:
    return [f"{trajectory.env} {trajectory.split} {trajectory.task_id}" for trajectory in trajectories]


def _lesson(batch: CreditBatch, credit: Credit) -> Lesson | None:
    if batch.value_K is None or credit.return_K is None or credit.target_K is None:
        return None
    arrays = [tensor.reshape(len(tensor), -1).numpy() for tensor in (batch.value_K, credit.return_K, credit.target_K)]
    return Lesson(arrays[0].astype(np.float32), arrays[1], arrays[2])
