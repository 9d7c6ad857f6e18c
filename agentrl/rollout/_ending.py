"""How episodes end, and what their trajectory is worth then."""

from __future__ import annotations

from dataclasses import dataclass

from agentrl.env._session import Score
from agentrl.rollout._recorder import EpisodeRecorder
from agentrl.trajectory import Status, StopReason, Trajectory


@dataclass(frozen=True, slots=True)
class Ending:
    """How an episode ended.

    Attributes:
        stop_reason: Why.
        error: For a failure of the infrastructure, what failed.
    """

    stop_reason: StopReason
    error: str | None = None

    @property
    def status(self) -> Status:
        """How far the episode can be trusted."""
        if self.stop_reason in (StopReason.ENV_ERROR, StopReason.ENGINE_ERROR):
            return Status.ERROR
        if self.stop_reason in (StopReason.COMPLETED, StopReason.PARSE_ERROR):
            return Status.OK
        return Status.TRUNCATED


def ending_by_environment(stop_reason: StopReason) -> Ending:
    """Return the ending that an environment declared."""
    ending = Ending(stop_reason)
    if ending.status is Status.ERROR:
        return Ending(stop_reason, f"the environment ended the episode with {stop_reason}")
    return ending


def finished_trajectory(recorder: EpisodeRecorder, ending: Ending, score: Score, seconds: float) -> Trajectory:
    """Return the trajectory of an ended episode.

    The total reward is the sum of the turns' rewards and the final score. It is None where the score is None, and for
    an error, which is never taken for a failure of the agent.
    """
    failed = ending.status is Status.ERROR
    earned = recorder.disturbed_reward + sum(value for turn in recorder.turns for value in turn.rewards.values())
    return recorder.trajectory(
        status=ending.status,
        stop_reason=ending.stop_reason,
        seconds=seconds,
        reward=None if failed or score.reward is None else earned + score.reward,
        reward_parts={} if failed else score.parts,
        metadata={} if failed else score.metadata,
        error=ending.error,
    )
