import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import PolicyError
from agentrl.policy import FinishReason, Generation, SamplingParams, empty_generation
from agentrl.rollout import generate_turn

PROMPT = np.array([9, 9, 9], np.int32)


def part(tokens, version, reason, entropies=True):
    array = np.array(tokens, np.int32)
    values = -array.astype(np.float32)
    return Generation(array, values, np.full(len(array), version, np.int32), reason, -values if entropies else None)


class Answers:
    """Answers with prepared generations and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def generate(self, prompt_tokens, sampling, *, request_id, priority=0.0):
        self.asked.append((list(prompt_tokens), sampling.max_tokens, request_id, priority))
        return self.answers.pop(0)


async def turn(*answers, max_tokens=8):
    engine = Answers(*answers)
    sampling = SamplingParams(max_tokens=max_tokens, stop_token_ids=(1,))
    return await generate_turn(engine, PROMPT, sampling, "t", 2.5), engine


async def test_parts_under_two_versions_become_one_turn():
    result, engine = await turn(
        part([5, 6], 3, FinishReason.INTERRUPTED),
        empty_generation(FinishReason.INTERRUPTED),
        part([7, 1], 4, FinishReason.STOP),
    )
    assert result.interruptions == 2
    assert result.generation.tokens.tolist() == [5, 6, 7, 1]
    assert result.generation.versions.tolist() == [3, 3, 4, 4]
    assert result.generation.logprobs.tolist() == [-5, -6, -7, -1]
    assert result.generation.entropies.tolist() == [5, 6, 7, 1]
    assert result.generation.finish_reason is FinishReason.STOP
    assert engine.asked == [([9, 9, 9], 8, "t", 2.5), ([9, 9, 9, 5, 6], 6, "t", 2.5), ([9, 9, 9, 5, 6], 6, "t", 2.5)]


async def test_an_interruption_after_the_last_token_asks_for_no_more():
    full, _ = await turn(part([5, 6], 0, FinishReason.INTERRUPTED), max_tokens=2)
    assert full.generation.finish_reason is FinishReason.LENGTH
    stopped, _ = await turn(part([5, 1], 0, FinishReason.INTERRUPTED))
    assert stopped.generation.finish_reason is FinishReason.STOP


async def test_entropies_known_for_half_a_turn_are_not_given_for_the_whole():
    result, _ = await turn(part([5], 0, FinishReason.INTERRUPTED, entropies=False), part([1], 1, FinishReason.STOP))
    assert result.generation.entropies is None


async def test_an_engine_that_breaks_its_contract_is_named():
    broken = Generation(np.array([5, 6], np.int32), np.zeros(1, np.float32), np.zeros(2, np.int32), FinishReason.STOP)
    with pytest.raises(PolicyError, match="logprobs"):
        await turn(broken)
    with pytest.raises(PolicyError, match="3 tokens"):
        await turn(part([5, 6, 7], 0, FinishReason.STOP), max_tokens=2)


async def test_an_engine_that_only_interrupts_cannot_outlast_a_deadline():
    class Stuck:
        async def generate(self, *_, **__):
            return empty_generation(FinishReason.INTERRUPTED)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await generate_turn(Stuck(), PROMPT, SamplingParams(max_tokens=3), "t", 0.0)


@settings(max_examples=60, deadline=None)
@given(pauses=st.lists(st.floats(0.0003, 0.01), max_size=8), seed=st.integers(0, 10**6))
def test_interruptions_at_any_token_change_nothing_but_versions(doubles, pauses, seed):
    sampling = SamplingParams(max_tokens=20, stop_token_ids=(doubles.STOP,), seed=seed)

    async def play(pauses):
        engine = doubles.Engine(stop_chance=0.1)
        playing = asyncio.create_task(generate_turn(engine, PROMPT, sampling, "t", 0.0))
        for pause in pauses:
            await asyncio.sleep(pause)
            await engine.update_weights(engine.version + 1)
        return await playing, engine

    plain, _ = doubles.run(play([]))
    broken, engine = doubles.run(play(pauses))
    assert plain.generation.tokens.tolist() == broken.generation.tokens.tolist()
    recorded = zip(broken.generation.tokens, broken.generation.versions, strict=True)
    assert [(token, version) for _, token, version in engine.sampled["t"]] == list(recorded)
    assert broken.interruptions <= len(pauses)
