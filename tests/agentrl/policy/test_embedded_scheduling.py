"""Slots, queue and cache of the embedded engine as its callers notice them."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from agentrl.errors import PolicyError
from agentrl.policy import FinishReason, SamplingParams


@pytest.fixture
def helpers(request):
    return request.config.pluginmanager.get_plugin(str(request.path.parent / "conftest.py"))


async def test_batching_does_not_change_samples(engines, helpers):
    model = helpers.tiny_model("qwen3")
    alone, together = engines(model, slots=1), engines(model, slots=16, prefill_tokens=7)
    random = np.random.default_rng(3)
    prompts = [random.integers(0, helpers.VOCABULARY, 1 + 3 * index).tolist() for index in range(16)]
    sampling = [SamplingParams(max_tokens=5 + index, seed=index, temperature=0.9) for index in range(16)]
    batched = await asyncio.gather(
        *(together.generate(prompts[i], sampling[i], request_id=f"{i}") for i in range(len(prompts)))
    )
    for index, answer in enumerate(batched):
        single = await alone.generate(prompts[index], sampling[index], request_id=f"{index}")
        assert single.tokens.tolist() == answer.tokens.tolist()


async def test_a_stop_token_ends_the_generation_and_belongs_to_it(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"))
    free = await engine.generate([1, 2], SamplingParams(max_tokens=30, seed=1), request_id="a")
    stop = int(free.tokens[10])
    first = free.tokens.tolist().index(stop)
    stopped = await engine.generate(
        [1, 2], SamplingParams(max_tokens=30, seed=1, stop_token_ids=(stop,)), request_id="b"
    )
    assert stopped.finish_reason is FinishReason.STOP
    assert stopped.tokens.tolist() == free.tokens[: first + 1].tolist()


async def test_smaller_priority_starts_first_and_equals_in_order_of_arrival(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"), slots=1)
    finished: list[str] = []

    async def ask(name: str, priority: float, tokens: int) -> None:
        await engine.generate([1, 2, 3], SamplingParams(max_tokens=tokens), request_id=name, priority=priority)
        finished.append(name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask("first", 9, 150))
        await helpers.after_tokens(engine, 1)
        for name, priority in (("c", 2), ("a", 1), ("d", 2), ("b", 1), ("z", 3)):
            tasks.create_task(ask(name, priority, 3))
    assert finished[0] == "first"
    assert finished[1:] == ["a", "b", "c", "d", "z"]


async def test_group_members_share_their_prompt(engines, helpers):
    """Eight samples of one prompt prefill it once, also when they arrive together."""
    model = helpers.tiny_model("qwen3")
    engine = engines(model, slots=4)
    prompt = np.random.default_rng(4).integers(0, helpers.VOCABULARY, 100).tolist()
    answers = await asyncio.gather(
        *(engine.generate(prompt, SamplingParams(max_tokens=5, seed=s), request_id=f"{s}") for s in range(8))
    )
    assert engine.stats().prefilled_tokens < 100 + 8 * 20
    for answer in answers:
        expected, _ = helpers.plain_distribution(model, prompt + answer.tokens.tolist(), 100)
        np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)


async def test_conversations_beyond_the_slots_stay_cached_until_room_is_needed(engines, helpers):
    """Six conversations over two slots: with room all continue on their KV, without it the oldest is evicted."""
    model = helpers.tiny_model("qwen3")
    random = np.random.default_rng(5)
    prompts = [random.integers(0, helpers.VOCABULARY, 20).tolist() for _ in range(6)]
    sampling = SamplingParams(max_tokens=4)

    async def second_turns(engine):
        cached = []
        for turn in range(2):
            for index, prompt in enumerate(prompts):
                tokens = prompt if turn == 0 else longer[index]
                answer = await engine.generate(tokens, sampling, request_id=f"{index}")
                if turn == 0:
                    longer[index] = prompt + answer.tokens.tolist() + [3]
                else:
                    cached.append(answer.cached_tokens)
                    expected, _ = helpers.plain_distribution(model, tokens + answer.tokens.tolist(), len(tokens))
                    np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)
        return cached

    longer: dict[int, list[int]] = {}
    roomy = engines(model, slots=2)
    assert await second_turns(roomy) == [23] * 6
    assert roomy.stats().extra["evictions"] == 0
    tight = engines(model, slots=2, parked_tokens=50)
    cached = await second_turns(tight)
    assert cached.count(0) >= 2
    assert tight.stats().extra["evictions"] > 0
    assert tight.stats().extra["parked_tokens"] <= 50


async def test_release_gives_the_cache_back(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"))
    answer = await engine.generate(list(range(40)), SamplingParams(max_tokens=4), request_id="a")
    assert engine.stats().extra["cached_conversations"] == 1
    await engine.release("a")
    await engine.release("never seen")
    assert engine.stats().extra["cached_conversations"] == 0
    again = await engine.generate(list(range(40)), SamplingParams(max_tokens=4), request_id="a")
    assert again.cached_tokens == 0
    assert again.tokens.tolist() == answer.tokens.tolist()


async def test_a_rewritten_past_is_not_taken_from_the_cache(engines, helpers):
    """The same request id with other tokens in the middle reuses the common part only."""
    model = helpers.tiny_model("qwen3")
    engine = engines(model)
    await engine.generate(list(range(60)), SamplingParams(max_tokens=10), request_id="a")
    rewritten = [*range(30), *range(50, 80)]
    answer = await engine.generate(rewritten, SamplingParams(max_tokens=10), request_id="a")
    assert answer.cached_tokens == 30
    expected, _ = helpers.plain_distribution(model, rewritten + answer.tokens.tolist(), 60)
    np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)


async def test_two_calls_at_once_under_one_request_id_are_both_right(engines, helpers):
    model = helpers.tiny_model("qwen3")
    engine = engines(model)
    prompt = list(range(40))
    both = await asyncio.gather(
        *(engine.generate(prompt, SamplingParams(max_tokens=20, seed=s), request_id="a") for s in range(2))
    )
    for answer in both:
        expected, _ = helpers.plain_distribution(model, prompt + answer.tokens.tolist(), 40)
        np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)


async def test_cancelling_a_call_frees_its_slot(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"), slots=1)
    running = asyncio.create_task(engine.generate([1], SamplingParams(max_tokens=158), request_id="a"))
    waiting = asyncio.create_task(engine.generate([2], SamplingParams(max_tokens=158), request_id="b"))
    async with asyncio.timeout(20):
        await helpers.after_tokens(engine, 1)
        for task in (running, waiting):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await engine.generate([3], SamplingParams(max_tokens=5), request_id="c")
    assert engine.stats().sampled_tokens < 158
    assert engine.stats().running == engine.stats().waiting == 0


async def test_the_context_limit_ends_a_generation(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"), max_context=30)
    answer = await engine.generate(list(range(25)), SamplingParams(max_tokens=100), request_id="a")
    assert (len(answer.tokens), answer.finish_reason) == (5, FinishReason.LENGTH)
    full = await engine.generate(list(range(30)), SamplingParams(max_tokens=100), request_id="a")
    assert (len(full.tokens), full.finish_reason) == (0, FinishReason.LENGTH)
    with pytest.raises(PolicyError, match="31 tokens are more than the engine's context of 30"):
        await engine.generate(list(range(31)), SamplingParams(max_tokens=1), request_id="a")


async def test_wrong_requests_are_refused_by_name_and_harm_nobody(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"))
    good = SamplingParams(max_tokens=4)
    with pytest.raises(PolicyError, match="at least one token"):
        await engine.generate([], good, request_id="a")
    with pytest.raises(PolicyError, match="token 89 at position 1 is outside the vocabulary of 89"):
        await engine.generate([1, 89], good, request_id="a")
    with pytest.raises(PolicyError, match="top_p is 0"):
        await engine.generate([1], SamplingParams(max_tokens=4, top_p=0), request_id="a")
    with pytest.raises(PolicyError, match="temperature is -1"):
        await engine.generate([1], SamplingParams(max_tokens=4, temperature=-1), request_id="a")
    with pytest.raises(PolicyError, match="start is 0"):
        await engine.score([1, 2], 0)
    assert len((await engine.generate([1], good, request_id="a")).tokens) == 4


async def test_death_of_the_engine_reaches_every_live_and_later_call(engines, helpers, monkeypatch):
    engine = engines(helpers.tiny_model("qwen3"), slots=1)

    def fail(batch: object) -> None:
        raise MemoryError("no memory left for attention")

    monkeypatch.setattr(engine._runner, "forward", fail)
    calls = [engine.generate([1, 2], SamplingParams(max_tokens=4), request_id=f"{i}") for i in range(3)]
    async with asyncio.timeout(20):
        results = await asyncio.gather(*calls, return_exceptions=True)
        for result in results:
            assert isinstance(result, PolicyError)
            assert isinstance(result.__cause__, MemoryError)
        with pytest.raises(PolicyError, match="no memory left"):
            await engine.score([1, 2], 1)
        with pytest.raises(PolicyError, match="no memory left"):
            await engine.generate([1, 2], SamplingParams(max_tokens=4), request_id="late")


async def test_close_ends_the_thread_and_fails_what_is_open(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"), slots=1)
    running = asyncio.create_task(engine.generate([1], SamplingParams(max_tokens=158), request_id="a"))
    await asyncio.sleep(0.01)
    await engine.close()
    with pytest.raises(PolicyError, match="closed"):
        await running
    with pytest.raises(PolicyError, match="closed"):
        await engine.generate([1], SamplingParams(max_tokens=1), request_id="b")
    await engine.close()
    assert not engine._loop._thread.is_alive()
    assert engine._loop._thread is not threading.main_thread()


async def test_an_idle_engine_uses_no_processor_time(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"))
    await engine.generate([1], SamplingParams(max_tokens=2), request_id="a")
    steps, busy = engine.stats().extra["steps"], engine.stats().busy_seconds
    await asyncio.sleep(0.2)
    assert engine.stats().extra["steps"] == steps
    assert engine.stats().busy_seconds - busy < 0.05
