"""The scripted engine keeps the contract of a policy engine, so that what is tested on it holds on a real one."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from agentrl import PolicyError
from agentrl.policy import FinishReason, PolicyEngine, SamplingParams
from agentrl.testing import ScriptedEngine

STOP = 0
SAMPLING = SamplingParams(max_tokens=8, stop_token_ids=(STOP,))


async def spins(times: int = 10) -> None:
    """Let every other coroutine run a few rounds."""
    for _ in range(times):
        await asyncio.sleep(0)


async def test_answers_come_in_order_with_logprobs_versions_and_entropies() -> None:
    engine: PolicyEngine = ScriptedEngine(
        [[5, 6, STOP], [7]], logprob=lambda token, version: -token / 10, version=3, entropy=0.25
    )
    first = await engine.generate([1, 2], SAMPLING, request_id="a")
    assert first.tokens.tolist() == [5, 6, STOP] and first.finish_reason is FinishReason.STOP
    assert first.logprobs == pytest.approx([-0.5, -0.6, 0.0])
    assert first.versions.tolist() == [3, 3, 3]
    assert first.entropies is not None and first.entropies.tolist() == [0.25] * 3
    second = await engine.generate(np.array([1], np.int32), SAMPLING, request_id="b")
    assert second.tokens.tolist() == [7, STOP], "an answer without stop token gets one"
    with pytest.raises(PolicyError, match="no answer left"):
        await engine.generate([1], SAMPLING, request_id="c")


async def test_a_function_answers_from_prompt_and_sampling() -> None:
    engine = ScriptedEngine(lambda prompt, sampling: [int(prompt[-1]) + 1, sampling.seed])
    result = await engine.generate([1, 41], SamplingParams(5, seed=9), request_id="a")
    assert result.tokens.tolist() == [42, 9] and result.finish_reason is FinishReason.LENGTH
    assert engine.calls[0].prompt == (1, 41) and engine.calls[0].version == 0


async def test_limits_end_an_answer() -> None:
    engine = ScriptedEngine(lambda prompt, sampling: [1, 2, 3, STOP, 4], max_context=6)
    short = await engine.generate([9], SamplingParams(2, stop_token_ids=(STOP,)), request_id="a")
    assert short.tokens.tolist() == [1, 2] and short.finish_reason is FinishReason.LENGTH
    full = await engine.generate([9] * 5, SAMPLING, request_id="b")
    assert full.tokens.tolist() == [1] and full.finish_reason is FinishReason.LENGTH
    stopped = await engine.generate([9], SAMPLING, request_id="c")
    assert stopped.tokens.tolist() == [1, 2, 3, STOP]
    for prompt in ([], [9] * 7):
        with pytest.raises(PolicyError):
            await engine.generate(prompt, SAMPLING, request_id="d")


async def test_new_weights_interrupt_and_the_resumed_request_goes_on_with_its_answer() -> None:
    engine = ScriptedEngine([[1, 2, 3, 4, STOP]])
    request = asyncio.create_task(engine.generate([9], SAMPLING, request_id="a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await engine.update_weights(1, {})
    cut = await request
    assert cut.finish_reason is FinishReason.INTERRUPTED
    assert 0 < len(cut.tokens) < 5 and set(cut.versions.tolist()) == {0}
    rest = await engine.generate([9, *cut.tokens.tolist()], SAMPLING, request_id="a")
    assert [*cut.tokens, *rest.tokens] == [1, 2, 3, 4, STOP] and set(rest.versions.tolist()) == {1}
    assert engine.updates == [(1, {})]
    with pytest.raises(PolicyError, match="not newer"):
        await engine.update_weights(1, {})


async def test_named_requests_are_interrupted_and_others_go_on() -> None:
    engine = ScriptedEngine(lambda prompt, sampling: [1, 2, 3])
    engine.hold()
    requests = [asyncio.create_task(engine.generate([9], SAMPLING, request_id=name)) for name in "ab"]
    await spins()
    assert not any(request.done() for request in requests), "held requests wait"
    await engine.interrupt(["a"])
    assert (await requests[0]).finish_reason is FinishReason.INTERRUPTED
    engine.resume()
    assert (await requests[1]).finish_reason is FinishReason.STOP


async def test_waiting_requests_enter_by_priority_and_can_be_interrupted_or_cancelled() -> None:
    order: list[str] = []
    engine = ScriptedEngine(lambda prompt, sampling: [1], slots=1)

    async def ask(name: str, priority: float) -> FinishReason:
        result = await engine.generate([9], SAMPLING, request_id=name, priority=priority)
        order.append(name)
        return result.finish_reason

    engine.hold()
    tasks = {name: asyncio.create_task(ask(name, priority)) for name, priority in [("a", 0), ("b", 2), ("c", 1)]}
    await spins()
    tasks |= {name: asyncio.create_task(ask(name, priority)) for name, priority in [("d", 0.5), ("e", 0.1)]}
    await spins()
    assert (engine.stats().running, engine.stats().waiting) == (1, 4)
    tasks["e"].cancel()
    await engine.interrupt(["d"])
    assert await tasks["d"] is FinishReason.INTERRUPTED
    engine.resume()
    assert [await tasks[name] for name in "abc"] == [FinishReason.STOP] * 3
    assert order == ["d", "a", "c", "b"]
    assert (engine.stats().running, engine.stats().waiting) == (0, 0)


async def test_failures_on_request_and_the_death_of_the_engine() -> None:
    engine = ScriptedEngine(lambda prompt, sampling: [1, 2, 3], slots=2)
    engine.fail_next(PolicyError("out of memory"), after_tokens=2)
    with pytest.raises(PolicyError, match="out of memory"):
        await engine.generate([9], SAMPLING, request_id="a")
    assert engine.stats().sampled_tokens == 2 and engine.stats().running == 0
    assert (await engine.generate([9], SAMPLING, request_id="a")).finish_reason is FinishReason.STOP
    engine.hold()
    live = asyncio.create_task(engine.generate([9], SAMPLING, request_id="b"))
    await spins()
    await engine.close()
    with pytest.raises(PolicyError, match="closed"):
        await live
    with pytest.raises(PolicyError, match="closed"):
        await engine.generate([9], SAMPLING, request_id="c")
    assert engine.closed


async def test_scores_are_the_scripted_logprobs() -> None:
    engine = ScriptedEngine([], logprob=lambda token, version: -float(token + version), version=2)
    assert (await engine.score([1, 2, 3], 1)).tolist() == [-4.0, -5.0]


async def test_a_delay_per_token_takes_its_time_and_interruption_cuts_it() -> None:
    engine = ScriptedEngine([[1, 2, STOP], [1]], seconds_per_token=0.02)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await engine.generate([9], SAMPLING, request_id="a")
    assert loop.time() - started >= 0.05
    slow = ScriptedEngine([[1, 2]], seconds_per_token=60)
    request = asyncio.create_task(slow.generate([9], SAMPLING, request_id="a"))
    await spins()
    await slow.interrupt()
    assert (await asyncio.wait_for(request, 5)).finish_reason is FinishReason.INTERRUPTED


async def test_release_is_noted_and_forgets_the_unfinished_answer() -> None:
    engine = ScriptedEngine([[1, 2, 3, STOP], [7]])
    engine.hold()
    request = asyncio.create_task(engine.generate([9], SAMPLING, request_id="a"))
    await spins()
    await engine.interrupt()
    assert (await request).tokens.tolist() == []
    await engine.release("a")
    engine.resume()
    assert (await engine.generate([9], SAMPLING, request_id="a")).tokens.tolist() == [7, STOP]
    assert engine.released == ["a"]
