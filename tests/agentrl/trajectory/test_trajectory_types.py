"""What the data model refuses: each would train on wrong tokens, or on tokens twice."""

from __future__ import annotations

import dataclasses
from random import Random

import numpy as np
import pytest

from agentrl.testing._trajectories import random_trajectory
from agentrl.trajectory import Span, SpanKind


def test_a_span_of_64_bit_tokens_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="tokens are int64, expected int32"):
        Span("s", SpanKind.PROMPT, np.array([1, 2], dtype=np.int64))  # type: ignore[arg-type]


def test_a_span_of_two_dimensions_is_refused() -> None:
    with pytest.raises(ValueError, match="one dimension"):
        Span("s", SpanKind.PROMPT, np.zeros((2, 2), dtype=np.int32))


@pytest.mark.parametrize(("segment", "action"), [(1, 1), (-1, 1), (0, 99), (0, -2)])
def test_a_turn_that_points_nowhere_is_refused(segment: int, action: int) -> None:
    trajectory = random_trajectory(Random(0))
    turns = (dataclasses.replace(trajectory.turns[0], segment=segment, action=action), *trajectory.turns[1:])
    with pytest.raises(ValueError, match="turn 0 points at"):
        dataclasses.replace(trajectory, turns=turns)


def test_an_action_span_cannot_belong_to_two_turns() -> None:
    trajectory = random_trajectory(Random(0))
    with pytest.raises(ValueError, match="shares its action span"):
        dataclasses.replace(trajectory, turns=(trajectory.turns[0], trajectory.turns[0]))


def test_the_arrays_of_a_span_cannot_be_changed() -> None:
    span = random_trajectory(Random(0)).segments[0].spans[0]
    with pytest.raises(ValueError, match="read-only"):
        span.tokens[0] = 1
