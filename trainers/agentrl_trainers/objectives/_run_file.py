"""The objective that `[trainer]` of a run file asks for."""

from __future__ import annotations

from agentrl.config import TrainerSection
from agentrl.errors import ConfigError
from agentrl_trainers.objectives._aggregate import Aggregation
from agentrl_trainers.objectives._bound import BoundObjective, objective

SHARED = ("clip_low", "clip_high", "importance_cap")
"""Fields of `[trainer]` that are options of some objectives, with defaults that are not every author's."""


def objective_of(section: TrainerSection) -> BoundObjective:
    """Return the objective of a run.

    Importance weights of decoupled PPO are clamped to their cap, not dropped beyond it.

    Raises:
        ConfigError: As `objective`; or a field was changed that the chosen objective does not read.
    """
    values = section.model_dump()
    bound = objective(
        section.objective,
        values | {"importance_action": "clamp"},
        section.objective_options,
        mismatch=section.mismatch,
        mismatch_options=section.mismatch_options,
    )
    for name in SHARED:
        changed = values[name] != TrainerSection.model_fields[name].default
        if changed and name not in bound.method.shared:
            takes = ", ".join(sorted(bound.method.options())) or "none"
            raise ConfigError(
                f"trainer.{name} = {values[name]} has no effect with trainer.objective = {section.objective!r}: give "
                f"options of this objective in [trainer.objective_options]; it takes {takes}"
            )
    return bound


def aggregation_of(section: TrainerSection, bound: BoundObjective) -> Aggregation:
    """Return how losses are averaged: as the run file says, or as the objective's authors do."""
    return bound.aggregation if section.aggregation == "auto" else section.aggregation
