import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.rollout import (
    AdmissionRule,
    Obstacle,
    beyond_bound,
    decode_priority,
    groups_to_open,
    obstacle,
    token_staleness,
)


@given(
    batch=st.integers(1, 20),
    staleness=st.integers(0, 6),
    base_step=st.integers(0, 50),
    spare=st.integers(0, 100),
    step=st.integers(0, 50),
)
def test_a_group_consumed_in_order_is_never_older_than_the_bound(batch, staleness, base_step, spare, step):
    rule = AdmissionRule(batch, staleness, base_step, base_groups=spare)
    published = base_step + step
    last = rule.limit(published) - 1
    trained_in = base_step + (last - spare) // batch
    assert trained_in - published == staleness


@given(batch=st.integers(1, 20), staleness=st.integers(0, 6), index=st.integers(0, 2000), base=st.integers(0, 30))
def test_step_needed_is_the_first_that_admits(batch, staleness, index, base):
    rule = AdmissionRule(batch, staleness, base, base * batch)
    step = rule.step_needed(index)
    assert index < rule.limit(step)
    assert step == base or index >= rule.limit(step - 1)


def test_synchronous_training_starts_nothing_of_the_next_step():
    rule = AdmissionRule(groups_per_step=4, staleness=0)
    state = {"live": 0, "in_flight": 100, "paused": False}
    assert obstacle(rule, next_group=3, published_step=0, **state) is None
    assert obstacle(rule, next_group=4, published_step=0, **state) is Obstacle.STALENESS
    assert obstacle(rule, next_group=4, published_step=1, **state) is None


def test_obstacles_are_told_apart():
    rule = AdmissionRule(4, 0)
    assert obstacle(rule, next_group=0, published_step=0, live=5, in_flight=5, paused=False) is Obstacle.IN_FLIGHT
    assert obstacle(rule, next_group=0, published_step=0, live=0, in_flight=5, paused=True) is Obstacle.PAUSED
    assert obstacle(rule, next_group=None, published_step=0, live=0, in_flight=5, paused=False) is Obstacle.EXHAUSTED


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 40)), min_size=2, max_size=20))
def test_older_groups_decode_first_and_within_a_group_those_behind(work):
    by_priority = sorted(work, key=lambda item: decode_priority(*item, max_turns=40))
    assert by_priority == sorted(work)


@given(first=st.integers(0, 100), count=st.integers(1, 10), back=st.integers(0, 120))
def test_staleness_is_plain_subtraction_where_versions_are_consecutive(first, count, back):
    lineage = list(range(first, first + count))
    version = lineage[-1] - back
    assert token_staleness(np.array([version], np.int32), lineage)[0] == back


def test_a_jump_of_versions_on_resume_is_one_publication():
    lineage = [4, 5, 40, 41]
    versions = np.array([4, 5, 39, 40, 41], np.int32)
    assert token_staleness(versions, lineage).tolist() == [3, 2, 2, 1, 0]
    assert beyond_bound(versions, lineage, 2).tolist() == [True, False, False, False, False]


def test_an_empty_lineage_is_refused():
    with pytest.raises(ValueError, match="lineage is empty"):
        token_staleness(np.zeros(1, np.int32), [])


@given(
    staleness=st.integers(0, 4),
    next_index=st.integers(0, 30),
    total=st.none() | st.integers(0, 30),
    step=st.integers(0, 5),
    pending=st.integers(0, 50),
    free=st.integers(0, 50),
    ahead=st.integers(0, 20),
    size=st.integers(1, 9),
)
def test_groups_are_opened_for_every_free_place_and_never_beyond_the_bound(
    staleness, next_index, total, step, pending, free, ahead, size
):
    rule = AdmissionRule(4, staleness)
    count = groups_to_open(
        rule,
        next_index=next_index,
        total_groups=total,
        published_step=step,
        pending=pending,
        free=free,
        ahead=ahead,
        group_size=size,
    )
    end = rule.limit(step) if total is None else min(rule.limit(step), total)
    assert count == 0 or next_index + count <= end
    if next_index + count < end:
        assert pending + count * size >= free + ahead, "a free place waits although a group may start"
    assert pending + count * size < free + ahead + size or count == 0
