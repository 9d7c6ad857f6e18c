"""Everything at once: whatever happens around a request, its log-probs are those of the weights that sampled it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch

from agentrl.policy import FinishReason, SamplingParams
from agentrl.policy.embedded._batch import BatchPlanner, Chunk
from agentrl.policy.embedded._runner import make_runner


@pytest.fixture
def helpers(request):
    return request.config.pluginmanager.get_plugin(str(request.path.parent / "conftest.py"))


@pytest.mark.parametrize("seed", [0, 1, 2])
async def test_random_episodes_under_interruptions_updates_evictions_and_branches(engines, helpers, seed):
    """Many episodes over few slots and little cache; each token is checked against a plain forward of its version."""
    models = [helpers.tiny_model("qwen3", seed=version) for version in range(4)]
    engine = engines(models[0], slots=4, parked_tokens=150, prefill_tokens=24)
    random = np.random.default_rng(seed)
    shared = random.integers(0, helpers.VOCABULARY, 50).tolist()

    async def check(start: int, tokens: list[int], generation) -> None:
        assert len(set(generation.versions.tolist())) <= 1
        if len(generation.tokens):
            expected, _ = helpers.plain_distribution(models[int(generation.versions[0])], tokens, start)
            np.testing.assert_allclose(generation.logprobs, expected, atol=1e-4)

    async def episode(name: str) -> int:
        tokens = (
            shared[: random.integers(1, 50)] + random.integers(0, helpers.VOCABULARY, random.integers(1, 9)).tolist()
        )
        interruptions = 0
        for _ in range(4):
            left = int(random.integers(1, 20))
            while left:
                sampling = SamplingParams(max_tokens=left, seed=int(random.integers(1000)))
                priority = float(random.integers(3))
                generation = await engine.generate(tokens, sampling, request_id=name, priority=priority)
                start, tokens = len(tokens), tokens + generation.tokens.tolist()
                left -= len(generation.tokens)
                await check(start, tokens, generation)
                interruptions += generation.finish_reason is FinishReason.INTERRUPTED
            tokens += random.integers(0, helpers.VOCABULARY, random.integers(1, 6)).tolist()
            if random.random() < 0.3:
                name += "'"  # a branch: another id with this past
            if random.random() < 0.2:
                await engine.release(name)
        return interruptions

    async def disturb() -> None:
        for version in (1, 2, 3):
            for _ in range(3):
                await asyncio.sleep(0.02)
                await engine.interrupt(None if random.random() < 0.5 else [f"{random.integers(12)}"])
                doomed = asyncio.create_task(
                    engine.generate(shared, SamplingParams(max_tokens=40), request_id="doomed", priority=-1)
                )
                await asyncio.sleep(0.005)
                doomed.cancel()
            await engine.update_weights(version, models[version].state_dict())

    async with asyncio.timeout(60):
        *interruptions, _ = await asyncio.gather(*(episode(f"{index}") for index in range(12)), disturb())
    assert sum(interruptions) > 0
    assert engine.stats().running == engine.stats().waiting == 0
    assert engine.stats().extra["parked_tokens"] <= 150


@pytest.mark.parametrize("family", ["qwen3", "phi3"])
@pytest.mark.parametrize("split_cost", [-1000, 0, 40, 10_000])
def test_every_way_to_cut_a_decode_step_gives_the_same_logits(helpers, family, split_cost):
    """Rows of uneven length with idle slots between, attended together, one by one, or in parts."""
    model = helpers.tiny_model(family)
    random = np.random.default_rng(6)
    slots, lengths = np.array([0, 2, 3, 7]), np.array([5, 90, 33, 12])
    sequences = [random.integers(0, helpers.VOCABULARY, length + 1).astype(np.int32) for length in lengths]
    with torch.inference_mode():
        expected = torch.stack([model(torch.from_numpy(tokens)[None].long()).logits[0, -1] for tokens in sequences])
        runner = make_runner(model, 8, 100)
        planner = BatchPlanner(runner.pool.positions, runner.device, runner.dtype, split_cost)
        nothing = np.zeros(0, np.int64)
        chunks = [Chunk(int(slot), 0, tokens[:-1], False) for slot, tokens in zip(slots, sequences, strict=True)]
        runner.forward(planner.plan(nothing, nothing, nothing, chunks))
        last = np.array([tokens[-1] for tokens in sequences], np.int64)
        logits = runner.forward(planner.plan(slots, last, lengths, []))
    np.testing.assert_allclose(logits.numpy(), expected.numpy(), atol=1e-4)
