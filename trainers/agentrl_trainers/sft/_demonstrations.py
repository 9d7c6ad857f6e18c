"""Expert episodes of a run's environments, for the warm start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentrl.config import RunConfig
from agentrl.errors import ConfigError
from agentrl.rendering import load_renderer
from agentrl.rollout import ActionPool, EnvironmentShare, EpisodeLimits, TaskOrder, demonstrate_episode
from agentrl.trajectory import Status, Trajectory


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """Expert episodes.

    Attributes:
        trajectories: Those that can be imitated.
        failed: Episodes left out because the expert or the environment failed.
        solved: Share of the imitated ones with a positive reward.
    """

    trajectories: tuple[Trajectory, ...]
    failed: int
    solved: float


async def collect_demonstrations(config: RunConfig, shares: Sequence[EnvironmentShare]) -> Demonstrations:
    """Play `[sft] episodes` tasks by the experts of the run's environments, in the run's own order of tasks.

    Episodes are played one after another: an expert is fast, and the draws of disturbed turns stay the same in every
    process.

    Raises:
        ConfigError: An environment has no expert, or no episode could be played.
    """
    for share in shares:
        if not share.factory.has_expert:
            raise ConfigError(
                f"environment {share.factory.name!r} has no expert (`demonstrate`), so there is nothing to imitate; "
                "train without a warm start, or from a pretrained model"
            )
    factories = {share.factory.name: share.factory for share in shares}
    renderer = load_renderer(config.model, config.rollout.renderer)
    limits = EpisodeLimits.of(config.rollout)
    order = TaskOrder(shares, config.seed)
    pool = ActionPool()
    played = []
    for index in range(config.sft.episodes):
        place = order.place(index)
        factory = factories[place.env]
        task = factory.tasks.task(place.split, place.task_index)
        played.append(
            await demonstrate_episode(
                factory, task, renderer, limits, seed=config.seed, noise=config.sft.noise, random_action=pool
            )
        )
    good = tuple(trajectory for trajectory in played if trajectory.status is not Status.ERROR and trajectory.turns)
    if not good:
        raise ConfigError(f"no expert episode could be played; the first failed with: {played[0].error}")
    solved = sum((trajectory.reward or 0.0) > 0 for trajectory in good) / len(good)
    return Demonstrations(good, len(played) - len(good), solved)
