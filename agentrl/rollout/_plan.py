"""What the scheduler is asked to keep going."""

from __future__ import annotations

from dataclasses import dataclass

from agentrl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """The settings of a run's rollouts.

    Attributes:
        run_id: Begins every id; the same when the run is resumed.
        seed: Seed of the task order and of all sampling.
        groups_per_step: Groups that one optimizer step trains on.
        group_size: Trajectories of one group.
        staleness: Policy versions a token may be old when it is trained on; 0 = synchronous.
        in_flight: Most trajectories under way.
        retries: Times an episode is started again after an infrastructure failure.
        total_groups: Groups of the whole run, or None to go on until stopped.
        error_patience: Infrastructure failures in a row, over one environment, at which the run ends; None = twice
            the group size, 0 = never.
    """

    run_id: str
    seed: int
    groups_per_step: int
    group_size: int
    staleness: int
    in_flight: int
    retries: int = 1
    total_groups: int | None = None
    error_patience: int | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("groups_per_step", 1),
            ("group_size", 1),
            ("staleness", 0),
            ("in_flight", 1),
            ("retries", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"rollout: {name} must be at least {least}, got {getattr(self, name)}")
