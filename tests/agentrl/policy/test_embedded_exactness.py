"""What the embedded engine reports is what the model computes: log-probs, entropies, scores, filtered distributions."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch

from agentrl.errors import PolicyError
from agentrl.policy import FinishReason, SamplingParams


@pytest.fixture
def helpers(request):
    return request.config.pluginmanager.get_plugin(str(request.path.parent / "conftest.py"))


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama", "gpt_neox", "phi3"])
async def test_multi_turn_conversations_equal_a_plain_forward(engines, helpers, family):
    """Ragged conversations that reuse their KV, more than there are slots, in small prefill chunks."""
    model = helpers.tiny_model(family)
    engine = engines(model, slots=3, prefill_tokens=11)
    random = np.random.default_rng(1)

    async def episode(index: int) -> None:
        tokens = random.integers(0, helpers.VOCABULARY, 3 + 6 * index).tolist()
        observation: list[int] = []
        for turn in range(4):
            sampling = SamplingParams(max_tokens=2 + index + turn, seed=index)
            answer = await engine.generate(tokens, sampling, request_id=f"episode-{index}")
            start = len(tokens)
            if turn:
                assert answer.cached_tokens >= start - 1 - len(observation)
            tokens = tokens + answer.tokens.tolist()
            logprobs, entropies = helpers.plain_distribution(model, tokens, start)
            np.testing.assert_allclose(answer.logprobs, logprobs, atol=1e-4)
            np.testing.assert_allclose(answer.entropies, entropies, atol=1e-4)
            assert answer.finish_reason is FinishReason.LENGTH
            observation = random.integers(0, helpers.VOCABULARY, 1 + (index + turn) % 4).tolist()
            tokens += observation

    await asyncio.gather(*(episode(index) for index in range(7)))


@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
async def test_score_equals_a_plain_forward_beside_decoding(engines, helpers, family):
    model = helpers.tiny_model(family)
    engine = engines(model)
    random = np.random.default_rng(2)
    sequences = [random.integers(0, helpers.VOCABULARY, length).tolist() for length in (2, 9, 40, 150)]
    decoding = asyncio.create_task(engine.generate([1, 2, 3], SamplingParams(max_tokens=100), request_id="r"))
    scored = await asyncio.gather(*(engine.score(tokens, 1 + len(tokens) // 3) for tokens in sequences))
    for tokens, logprobs in zip(sequences, scored, strict=True):
        expected, _ = helpers.plain_distribution(model, tokens, 1 + len(tokens) // 3)
        np.testing.assert_allclose(logprobs, expected, atol=1e-4)
    assert (await engine.score([3, 4], 2)).shape == (0,)
    answer = await decoding
    expected, _ = helpers.plain_distribution(model, [1, 2, 3, *answer.tokens.tolist()], 3)
    np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(max_tokens=40, temperature=0.7),
        SamplingParams(max_tokens=40, top_k=5),
        SamplingParams(max_tokens=40, top_p=0.8),
        SamplingParams(max_tokens=40, temperature=1.3, top_k=30, top_p=0.9),
    ],
)
async def test_logprobs_are_those_of_the_distribution_that_was_sampled(engines, helpers, sampling):
    """Recomputed token by token in the naive way: scale, keep the k best, keep the smallest nucleus, renormalise."""
    model = helpers.tiny_model("qwen3")
    engine = engines(model)
    prompt = [5, 6, 7]
    # Another request without filters shares the batch and must not disturb this one.
    answer, _ = await asyncio.gather(
        engine.generate(prompt, sampling, request_id="a"),
        engine.generate(prompt, SamplingParams(max_tokens=40), request_id="b"),
    )
    tokens = prompt + answer.tokens.tolist()
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0].double() / sampling.temperature
    for index, token in enumerate(answer.tokens.tolist()):
        ranked = sorted(
            enumerate(torch.softmax(logits[len(prompt) - 1 + index], -1).tolist()), key=lambda pair: -pair[1]
        )
        if sampling.top_k:
            ranked = ranked[: sampling.top_k]
        total, mass, kept = sum(p for _, p in ranked), 0.0, {}
        for candidate, probability in ranked:
            if mass >= sampling.top_p:
                break
            kept[candidate] = probability / total
            mass += probability / total
        kept = {candidate: probability / mass for candidate, probability in kept.items()}
        assert token in kept
        assert answer.logprobs[index] == pytest.approx(np.log(kept[token]), abs=1e-4)
        entropy = -sum(probability * np.log(probability) for probability in kept.values())
        assert answer.entropies[index] == pytest.approx(entropy, abs=1e-4)


async def test_greedy_takes_the_best_token_with_logprobs_of_temperature_one(engines, helpers):
    model = helpers.tiny_model("qwen3")
    engine = engines(model)
    answer = await engine.generate([5, 6], SamplingParams(max_tokens=12, temperature=0, top_k=3), request_id="a")
    tokens = [5, 6, *answer.tokens.tolist()]
    with torch.no_grad():
        best = model(torch.tensor([tokens])).logits[0, 1:-1].argmax(-1)
    assert best.tolist() == answer.tokens.tolist()
    np.testing.assert_allclose(answer.logprobs, helpers.plain_distribution(model, tokens, 2)[0], atol=1e-4)


async def test_samples_follow_the_distribution(engines, helpers):
    """The frequencies of a first token over 3,000 seeds match its probabilities."""
    model = helpers.tiny_model("qwen3")
    engine = engines(model, slots=64)
    prompt = list(range(20))
    answers = await asyncio.gather(
        *(engine.generate(prompt, SamplingParams(max_tokens=1, seed=s), request_id=f"{s}") for s in range(3000))
    )
    counts = np.bincount([int(answer.tokens[0]) for answer in answers], minlength=helpers.VOCABULARY)
    with torch.no_grad():
        expected = 3000 * torch.softmax(model(torch.tensor([prompt])).logits[0, -1], -1).numpy()
    common = expected > 5
    deviation = ((counts - expected)[common] ** 2 / expected[common]).sum()
    freedom = int(common.sum())
    assert freedom > 10
    assert abs(deviation - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("dtype", [torch.bfloat16])
async def test_half_precision_stays_near_the_model(engines, helpers, dtype):
    model = helpers.tiny_model("qwen3").to(dtype)
    engine = engines(model)
    answer = await engine.generate([1, 2, 3, 4], SamplingParams(max_tokens=20), request_id="a")
    expected, _ = helpers.plain_distribution(model, [1, 2, 3, 4, *answer.tokens.tolist()], 4)
    np.testing.assert_allclose(answer.logprobs, expected, atol=0.5)


async def test_a_model_that_forgets_its_past_is_refused(engines, helpers):
    """A sliding window shorter than the context would give log-probs that the trainer cannot reproduce."""
    import transformers

    config = transformers.MistralConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=16,
        max_position_embeddings=256,
    )
    model = transformers.MistralForCausalLM(config)
    with pytest.raises(PolicyError, match="whole context"):
        engines(model, max_context=64)
    engine = engines(model, max_context=16)
    assert len((await engine.generate([1], SamplingParams(max_tokens=4), request_id="a")).tokens) == 4
