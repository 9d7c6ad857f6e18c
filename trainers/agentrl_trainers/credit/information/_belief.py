"""Beliefs in the true answer as numbers, and how a trajectory carries them. T = turns of one trajectory."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from agentrl.trajectory import Trajectory

BELIEF = "answer_belief"
"""Key of a trajectory's metadata: one number per turn, None where there is none."""


def mean_logprob(logprobs: npt.NDArray[np.floating[Any]]) -> float:
    """Return b = (1/L)·Σ log π(a_l | …) of an answer's L tokens; exp(b) is their geometric mean probability."""
    return float(np.mean(logprobs, dtype=np.float64))


def with_beliefs(trajectory: Trajectory, belief_T: npt.NDArray[np.float64]) -> Trajectory:
    """Return the trajectory with its beliefs, so that they are stored with it and credit finds them.

    Args:
        trajectory: Finished.
        belief_T: From `information_gain_scores`; nan where there is none.
    """
    values = [None if math.isnan(value) else float(value) for value in belief_T]
    return dataclasses.replace(trajectory, metadata={**trajectory.metadata, BELIEF: values})


def beliefs_of(trajectory: Trajectory) -> npt.NDArray[np.float64] | None:
    """Return the beliefs a trajectory carries [T], or None.

    Where their number is not that of the turns, nobody can say which belongs to which: all are nan, and credit falls
    back to the outcome alone.
    """
    values = trajectory.metadata.get(BELIEF)
    if values is None:
        return None
    if not isinstance(values, list | tuple) or len(values) != len(trajectory.turns):
        return np.full(len(trajectory.turns), np.nan)
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
