"""What was sampled is what comes back: token for token, bit for bit."""

from __future__ import annotations

import base64
import dataclasses
import math
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.testing._trajectories import assert_same_spans, assert_same_trajectory, random_trajectory
from agentrl.trajectory import (
    Segment,
    Span,
    SpanKind,
    Status,
    StopReason,
    Timing,
    ToolOutcome,
    Trajectory,
    Turn,
    decode_span,
    decode_trajectory,
    decode_turn,
    encode_span,
    encode_trajectory,
    encode_turn,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    turns=st.integers(0, 6),
    tokens=st.integers(0, 20),
    error=st.booleans(),
    member=st.integers(0, 9),
)
def test_a_trajectory_comes_back_equal(seed: int, turns: int, tokens: int, error: bool, member: int) -> None:
    made = random_trajectory(Random(seed), turns=turns, tokens_per_span=tokens, error=error, member=member)
    assert_same_trajectory(made, decode_trajectory(encode_trajectory(made)))


@settings(max_examples=60, deadline=None)
@given(arguments=st.none() | st.dictionaries(st.text(), _JSON, max_size=3), result=st.text(st.characters()))
def test_whatever_json_a_policy_writes_into_a_call_comes_back_equal(
    arguments: dict[str, Any] | None, result: str
) -> None:
    turn = Turn(0, 1, result, tool_calls=(ToolOutcome("a tool", arguments, result),))
    assert decode_turn(encode_turn(turn)) == turn


def test_an_integer_beyond_64_bits_and_half_a_surrogate_pair_come_back_equal() -> None:
    arguments = {"n": 10**5000, "negative": -(2**70), "text": "\ud83d"}
    turn = Turn(0, 1, "\udc00", tool_calls=(ToolOutcome("add", arguments, ""),))
    assert decode_turn(encode_turn(turn)) == turn


def test_values_that_are_not_finite_keep_their_bits() -> None:
    logprobs = np.array([math.nan, -math.inf, -0.0], dtype=np.float32)
    span = Span("s", SpanKind.ACTION, np.array([0, -1, 2**31 - 1], dtype=np.int32), logprobs, np.zeros(3, np.int32))
    assert_same_spans((span,), (decode_span(encode_span(span)),))


def test_numpy_scalars_of_an_environment_come_back_as_plain_values() -> None:
    made = dataclasses.replace(
        random_trajectory(Random(0)),
        reward=np.float32(0.5),
        reward_parts={"a": np.float64(1.0)},
        metadata={"success": np.bool_(True), "steps": np.int64(3)},
    )
    back = decode_trajectory(encode_trajectory(made))
    assert (back.reward, back.reward_parts, back.metadata) == (0.5, {"a": 1.0}, {"success": True, "steps": 3})
    assert type(back.metadata["success"]) is bool and type(back.reward) is float


def test_a_span_shared_by_segments_is_written_once_and_comes_back_as_one_object() -> None:
    made = random_trajectory(Random(1), turns=2, tokens_per_span=1000)
    first = made.segments[0]
    shared = dataclasses.replace(made, segments=(first, Segment(first.spans[:3]), Segment(())))
    data = encode_trajectory(shared)
    assert len(data) < len(encode_trajectory(made)) + 100
    back = decode_trajectory(data)
    assert back.segments[1].spans[0] is back.segments[0].spans[0]
    assert_same_trajectory(shared, back)


def test_decoded_arrays_are_read_only_views_of_the_message() -> None:
    back = decode_trajectory(encode_trajectory(random_trajectory(Random(2))))
    action = back.action_span(back.turns[0])
    for array in (action.tokens, action.logprobs, action.versions):
        assert array is not None and not array.flags.owndata and not array.flags.writeable


# Written by format version 1. A reader must read it for ever; should the writer differ, raise FORMAT_VERSION.
_VERSION_1 = (
    "QVJUVAEAIAEAAJrQBvuU3AARoXShZ6FloWukdGVzdAcBAss/6AAAAAAAAKl0cnVuY2F0ZWSpbWF4X3R1cm5zgqFhyz/oAAAAAAAA"
    "oWLAwKFwy0AkAAAAAAAAy0A0AAAAAAAAgadzdWNjZXNzw5KWonMwpnByb21wdMQMBQAAAAYAAAAHAAAAwMDAlqJzMaZhY3Rpb27E"
    "CAgAAAAJAAAAxAgAAAC/AACgv8QIAwAAAAQAAADECAAAAD8AAABAkZIAAZGaAAGiZ2+mYSB3YWxsgaRzdGVwy7+5mZmZmZmapmFu"
    "Y2hvcpGVomdvgaFuAaZhIHdhbGyqdG9vbF9lcnJvcss/0AAAAAAAAMKmbGVuZ3RolMs/8AAAAAAAAMtAAAAAAAAAAMtACAAAAAAA"
    "AAQ="
)


def _known() -> Trajectory:
    prompt = Span("s0", SpanKind.PROMPT, np.array([5, 6, 7], dtype=np.int32))
    action = Span(
        "s1",
        SpanKind.ACTION,
        np.array([8, 9], dtype=np.int32),
        np.array([-0.5, -1.25], dtype=np.float32),
        np.array([3, 4], dtype=np.int32),
        np.array([0.5, 2.0], dtype=np.float32),
    )
    turn = Turn(
        0,
        1,
        "go",
        "a wall",
        {"step": -0.1},
        "anchor",
        (ToolOutcome("go", {"n": 1}, "a wall", "tool_error", 0.25),),
        False,
        "length",
        Timing(1.0, 2.0, 3.0, 4),
    )
    return Trajectory(
        id="t",
        group_id="g",
        env="e",
        task_id="k",
        split="test",
        seed=7,
        member=1,
        segments=(Segment((prompt, action)),),
        turns=(turn,),
        reward=0.75,
        status=Status.TRUNCATED,
        stop_reason=StopReason.MAX_TURNS,
        reward_parts={"a": 0.75, "b": None},
        retry=2,
        parent="p",
        started=10.0,
        finished=20.0,
        metadata={"success": True},
    )


def test_the_format_is_the_one_that_earlier_runs_wrote() -> None:
    written = base64.b64decode(_VERSION_1)
    assert_same_trajectory(decode_trajectory(written), _known())
    assert encode_trajectory(_known()) == written
