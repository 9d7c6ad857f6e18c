"""A line of the turn log over the wire."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from agentrl.errors import ProtocolError
from agentrl.store import decode_turn_record, encode_turn_record
from agentrl.testing._trajectories import assert_same_spans, random_trajectory, turn_records


@pytest.mark.parametrize("seed", range(10))
def test_a_line_of_the_turn_log_comes_back_equal(seed: int) -> None:
    for record in turn_records(random_trajectory(Random(seed), retry=2, member=3)):
        back = decode_turn_record(encode_turn_record(record))
        assert_same_spans(back.spans, record.spans)
        assert back == record


def test_a_field_that_could_not_be_read_back_is_refused_when_written() -> None:
    record = dataclasses.replace(turn_records(random_trajectory(Random(0)))[0], member=-1)
    with pytest.raises(ProtocolError, match="turn 0 of 'group-0/0/0': member: expected an integer of at least 0"):
        encode_turn_record(record)
