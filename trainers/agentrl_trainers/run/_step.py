"""What one optimizer step is: a batch, its credit, the update, and the figures for people."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from agentrl.evaluation import outcome_of
from agentrl.metrics import RunSnapshot
from agentrl.policy import EngineStats
from agentrl.rollout import RolloutStats
from agentrl.trajectory import Trajectory
from agentrl_trainers.learner import Learner, StepReport
from agentrl_trainers.run._batch import Batch
from agentrl_trainers.run._credit import RunCredit


def train_on(learner: Learner, credit: RunCredit, trajectories: tuple[Trajectory, ...]) -> StepReport:
    """Assign credit and take one optimizer step. Blocks: belongs on the trainer's thread."""
    if not trajectories:
        return learner.train_step([])
    report = learner.train_step(credit.rows(trajectories))
    credit.learn(trajectories, report)
    return report


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Everything a step is reported with.

    Attributes:
        batch: What was trained on.
        report: The learner's figures.
        rollouts, engine: Snapshots at the end of the step; their counters are totals since the process began.
        version: Policy version that the step's weights are published under.
        sampled_rate: Tokens sampled per second since the step before.
        seconds: Wall time since the step before.
        publish_seconds: Time that the commit of the step before and its publication took.
        checkpoint: Name of the checkpoint made, or None.
    """

    batch: Batch
    report: StepReport
    rollouts: RolloutStats
    engine: EngineStats
    version: int
    sampled_rate: float
    seconds: float
    publish_seconds: float
    checkpoint: str | None

    def metrics(self) -> dict[str, float | str | None]:
        """Return the line of `metrics.jsonl`, by name."""
        members = self.batch.trainable
        values: dict[str, float | str | None] = {
            "version": self.version,
            "success": self.success(),
            "reward": self.reward(),
            "turns": statistics.fmean(len(member.turns) for member in members) if members else None,
            "invalid_turns": _share(sum(not turn.valid for t in members for turn in t.turns), members),
            "trajectories": len(members),
            "batch_errors": self.batch.errors(),
            "batch_unscored": self.batch.unscored(),
            "errors": self.rollouts.errors,
            "retries": self.rollouts.retried,
            "in_flight": self.rollouts.in_flight,
            "sampled_rate": self.sampled_rate,
            "step_seconds": self.seconds,
            "wait_seconds": self.batch.waited,
            "publish_seconds": self.publish_seconds,
            "blocked_by_staleness_seconds": self.rollouts.blocked_by_staleness_seconds,
            "engine_busy_seconds": self.engine.busy_seconds,
            "engine_idle_seconds": self.engine.idle_seconds,
            "prefilled_tokens": self.engine.prefilled_tokens,
            "cached_tokens": self.engine.cached_tokens,
            "skipped": self.report.skipped,
        }
        values |= {f"train/{name}": value for name, value in self.report.metrics().items() if name != "step"}
        return values

    def snapshot(self) -> RunSnapshot:
        """Return what the live panel shows."""
        return RunSnapshot(
            step=self.report.step,
            success=self.success(),
            reward=self.reward(),
            sampled_rate=self.sampled_rate,
            trained_rate=self.report.tokens_per_second,
            staleness_mean=self.report.staleness,
            staleness_max=self.report.staleness_max,
            in_flight=self.rollouts.in_flight,
            errors=self.rollouts.errors,
            retries=self.rollouts.retried,
            entropy=self.report.entropy,
            loss=self.report.loss,
            step_seconds=self.seconds,
            checkpoint=self.checkpoint,
            extra={"masked": self.report.tokens_masked} if self.report.tokens_masked else {},
        )

    def success(self) -> float | None:
        """Return the share of successful trajectories, or None where the environments do not say."""
        told = [outcome_of(member).success for member in self.batch.trainable]
        known = [value for value in told if value is not None]
        return sum(known) / len(known) if known else None

    def reward(self) -> float | None:
        """Return the mean reward."""
        rewards = [member.reward for member in self.batch.trainable if member.reward is not None]
        return statistics.fmean(rewards) if rewards else None


def _share(count: int, members: tuple[Trajectory, ...]) -> float | None:
    turns = sum(len(member.turns) for member in members)
    return count / turns if turns else None
