"""Bytes that are not what they should be give a ProtocolError that says what to do, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import ProtocolError
from agentrl.store import TurnRecord, decode_turn_record, encode_turn_record
from agentrl.testing._trajectories import random_trajectory, turn_records
from agentrl.trajectory import (
    MAX_NESTING,
    Segment,
    Span,
    SpanKind,
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
from agentrl.trajectory._frame import FORMAT_VERSION, seal, unseal

_MADE = random_trajectory(Random(7), turns=2, tokens_per_span=3)
_RECORD = turn_records(_MADE)[0]
_FORMS: dict[bytes, tuple[bytes, Callable[[bytes], Any], type]] = {
    b"T": (encode_trajectory(_MADE), decode_trajectory, Trajectory),
    b"S": (encode_span(_MADE.segments[0].spans[1]), decode_span, Span),
    b"U": (encode_turn(_MADE.turns[0]), decode_turn, Turn),
    b"R": (encode_turn_record(_RECORD), decode_turn_record, TurnRecord),
}
_KINDS = st.sampled_from(sorted(_FORMS))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text() | st.binary(max_size=16),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", sorted(_FORMS))
def test_every_truncation_is_refused_with_a_remedy(kind: bytes) -> None:
    data, decode, _ = _FORMS[kind]
    for length in range(len(data)):
        with pytest.raises(ProtocolError, match="have it sent again"):
            decode(data[:length])


@settings(max_examples=200, deadline=None)
@given(kind=_KINDS, place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_read_as_data(kind: bytes, place: float, bit: int) -> None:
    data, decode, _ = _FORMS[kind]
    damaged = bytearray(data)
    damaged[int(place * len(data))] ^= 1 << bit
    with pytest.raises(ProtocolError):
        decode(bytes(damaged))


@settings(max_examples=300, deadline=None)
@given(kind=_KINDS, place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_well_sealed_body_with_any_byte_changed_gives_a_record_or_a_protocol_error(
    kind: bytes, place: float, byte: int
) -> None:
    data, decode, expected = _FORMS[kind]
    body = bytearray(data[14:])
    body[int(place * len(body))] = byte
    with contextlib.suppress(ProtocolError):
        assert isinstance(decode(_sealed(kind, bytes(body))), expected)


@settings(max_examples=300, deadline=None)
@given(kind=_KINDS, where=st.lists(st.integers(0, 20), max_size=5), value=_VALUES)
def test_any_field_replaced_by_any_value_gives_a_record_or_a_protocol_error(
    kind: bytes, where: list[int], value: Any
) -> None:
    data, decode, expected = _FORMS[kind]
    wire: Any = unseal(kind, data, "x")
    wire = _replaced(wire, where, value)
    with contextlib.suppress(ProtocolError):
        assert isinstance(decode(seal(kind, wire, "x")), expected)


@settings(max_examples=200, deadline=None)
@given(kind=_KINDS, body=st.binary(max_size=200))
def test_any_sealed_bytes_give_a_record_or_a_protocol_error(kind: bytes, body: bytes) -> None:
    _, decode, expected = _FORMS[kind]
    with contextlib.suppress(ProtocolError):
        assert isinstance(decode(_sealed(kind, body)), expected)


@pytest.mark.parametrize("body", [b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff" * 1000, b"\xdf\xff\xff\xff\xff"])
def test_bytes_that_claim_endless_nesting_or_size_are_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="within the limits"):
        decode_trajectory(_sealed(b"T", body))


def test_bytes_of_a_newer_version_ask_for_an_upgrade() -> None:
    data = bytearray(encode_trajectory(_MADE))
    struct.pack_into("<H", data, 4, FORMAT_VERSION + 1)
    with pytest.raises(ProtocolError, match=rf"format version {FORMAT_VERSION + 1}.*upgrade AgentRL"):
        decode_trajectory(bytes(data))


def test_foreign_bytes_are_named_as_such() -> None:
    with pytest.raises(ProtocolError, match="not written by AgentRL"):
        decode_trajectory(b"\x80\x04\x95 a pickle, say, of some length")


def test_a_turn_sent_where_a_trajectory_belongs_is_named_as_such() -> None:
    with pytest.raises(ProtocolError, match="kind b'U', expected b'T'"):
        decode_trajectory(encode_turn(_MADE.turns[0]))


def test_a_wrong_field_is_named_with_its_place() -> None:
    wire = unseal(b"T", encode_trajectory(_MADE), "x")
    wire[3][1][9][0] = "soon"
    with pytest.raises(ProtocolError, match=r"turns\[1\]\.timing\.started: expected a number, found str 'soon'"):
        decode_trajectory(seal(b"T", wire, "x"))


def test_an_unknown_stop_reason_is_refused_with_those_that_exist() -> None:
    wire = unseal(b"T", encode_trajectory(_MADE), "x")
    wire[0][10] = "bored"
    with pytest.raises(ProtocolError, match=r"head\.stop_reason: expected one of .*completed.* found str 'bored'"):
        decode_trajectory(seal(b"T", wire, "x"))


def test_metadata_that_is_no_json_is_refused_when_written_and_named() -> None:
    made = dataclasses.replace(_MADE, metadata={"state": [{"grid": np.zeros(3)}]})
    with pytest.raises(
        ProtocolError, match=r"head\.metadata\['state'\]\[0\]\['grid'\].*one of JSON's types, found ndarray"
    ):
        encode_trajectory(made)


def test_a_field_that_could_not_be_read_back_is_refused_when_written() -> None:
    turn = dataclasses.replace(_MADE.turns[0], observation=None)
    with pytest.raises(ProtocolError, match="observation: expected a string, found NoneType"):
        encode_turn(turn)


def test_arguments_nested_beyond_the_limit_are_refused_and_at_the_limit_kept() -> None:
    def nested(levels: int) -> Turn:
        value: Any = 1
        for _ in range(levels - 1):
            value = [value]
        return Turn(0, 1, "", tool_calls=(ToolOutcome("t", {"a": value}, ""),))

    assert decode_turn(encode_turn(nested(MAX_NESTING))) == nested(MAX_NESTING)
    with pytest.raises(ProtocolError, match=f"at most {MAX_NESTING} levels"):
        encode_turn(nested(MAX_NESTING + 1))


def test_two_spans_of_one_id_and_different_tokens_are_refused() -> None:
    one = Span("s", SpanKind.PROMPT, np.array([1], dtype=np.int32))
    other = Span("s", SpanKind.PROMPT, np.array([2], dtype=np.int32))
    made = dataclasses.replace(_MADE, segments=(*_MADE.segments, Segment((one, other))))
    with pytest.raises(ProtocolError, match="two different spans have the id 's'"):
        encode_trajectory(made)


def _sealed(kind: bytes, body: bytes) -> bytes:
    """Seal raw bytes as a body, be they msgpack or not."""
    return struct.pack("<3scHII", b"ART", kind, FORMAT_VERSION, len(body), zlib.crc32(body)) + body


def _replaced(value: Any, where: list[int], new: Any) -> Any:
    if not where or not isinstance(value, list) or not value:
        return new
    index = where[0] % len(value)
    return [*value[:index], _replaced(value[index], where[1:], new), *value[index + 1 :]]


def test_the_helper_of_this_file_seals_as_the_codec_does() -> None:
    assert _sealed(b"U", msgpack.packb([1, "a"])) == seal(b"U", [1, "a"], "x")
