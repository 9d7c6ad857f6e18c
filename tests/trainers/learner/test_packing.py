"""Packing: what the model is shown, and that no sampled token is lost, doubled or joined by another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentrl_trainers.learner import Row, make_rows, pack

LENGTHS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=12)


def row_of(number: int, before: int, sampled: int, after: int) -> Row:
    """Return a row of environment tokens 1xx with sampled tokens 2xx of its own number between them."""
    tokens = [*range(100, 100 + before), *[200 + number] * sampled, *range(150, 150 + after)]
    zeros = np.zeros(sampled, np.float32)
    positions = np.arange(before, before + sampled)
    return Row(np.array(tokens, np.int32), positions, zeros, zeros.astype(np.int32), zeros, number, f"row {number}")


@given(lengths=LENGTHS, budget=st.integers(1, 40))
def test_every_sampled_token_is_a_target_once_and_environment_tokens_never(
    lengths: list[tuple[int, int, int]], budget: int
) -> None:
    rows = [row_of(number, *length) for number, length in enumerate(lengths)]
    micros = pack(rows, budget)
    flat = np.concatenate([micro.flat_M.numpy() for micro in micros]) if micros else np.zeros(0)
    targets = np.concatenate([micro.target_M.numpy() for micro in micros]) if micros else np.zeros(0)
    wanted = np.concatenate([row.tokens_L[row.position_K] for row in rows])
    assert sorted(flat) == list(range(len(wanted)))
    assert np.array_equal(targets, wanted[flat.astype(int)])
    for micro in micros:
        rows_here, length = micro.tokens_BL.shape
        assert rows_here * length <= budget or rows_here == 1
        # The token before each target is what predicts it.
        previous = micro.tokens_BL.flatten()[micro.source_M]
        position = micro.source_M % length
        for token, target, place in zip(previous.tolist(), micro.target_M.tolist(), position.tolist(), strict=True):
            row = rows[target - 200]
            assert row.tokens_L[place] == token and row.tokens_L[place + 1] == target


@given(lengths=LENGTHS, budget=st.integers(1, 40), seed=st.integers(0, 9))
def test_unwanted_tokens_are_left_out_and_nothing_else(
    lengths: list[tuple[int, int, int]], budget: int, seed: int
) -> None:
    rows = [row_of(number, *length) for number, length in enumerate(lengths)]
    count = sum(len(row.position_K) for row in rows)
    keep_K = np.random.default_rng(seed).random(count) < 0.5
    flat = [index for micro in pack(rows, budget, keep_K) for index in micro.flat_M.tolist()]
    assert sorted(flat) == np.flatnonzero(keep_K).tolist()


def test_credit_follows_its_tokens_over_turns_and_segments(make_trajectory) -> None:
    first = make_trajectory("a", (3, 2, 1), segments=(0, 1, 0))
    second = make_trajectory("b", (2,))
    rows = make_rows([first, second], torch.arange(8.0))
    assert [row.advantage_K.tolist() for row in rows] == [[0, 1, 2, 5], [3, 4], [6, 7]]
    assert [row.sequence for row in rows] == [0, 0, 1]
    for row, spans in zip(rows, ([0, 2], [1], [0]), strict=True):
        trajectory = first if row.name == "a" else second
        actions = [trajectory.action_span(trajectory.turns[index]) for index in spans]
        assert row.tokens_L[row.position_K].tolist() == np.concatenate([span.tokens for span in actions]).tolist()
        assert row.behaviour_K.tolist() == np.concatenate([span.logprobs for span in actions]).tolist()


def test_advantages_of_other_trajectories_are_refused(make_trajectory) -> None:
    with pytest.raises(ValueError, match="3 advantages for 5 sampled tokens"):
        make_rows([make_trajectory("a")], torch.zeros(3))


def test_a_first_token_cannot_have_been_sampled() -> None:
    with pytest.raises(ValueError, match="nothing to be predicted from"):
        row_of(0, 0, 2, 0)
