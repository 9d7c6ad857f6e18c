"""Interruption and new weights: nothing is lost, nothing stale is used, every token has the version that sampled it."""

from __future__ import annotations

import asyncio
import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from agentrl.errors import PolicyError
from agentrl.policy import FinishReason, SamplingParams
from agentrl.policy.embedded import EmbeddedEngine


@pytest.fixture
def helpers(request):
    return request.config.pluginmanager.get_plugin(str(request.path.parent / "conftest.py"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 30), release=st.booleans(), seed=st.integers(0, 2**70))
def test_interrupted_and_resumed_anywhere_equals_uninterrupted(helpers, cut, release, seed):
    engine = EmbeddedEngine(helpers.tiny_model("qwen3"), slots=2, max_context=64, threads=1)
    prompt = [7, 8, 9, 10]

    async def run() -> None:
        whole = await engine.generate(prompt, SamplingParams(max_tokens=30, seed=seed), request_id="whole")
        first = await engine.generate(prompt, SamplingParams(max_tokens=cut, seed=seed), request_id="cut")
        if release:
            await engine.release("cut")
        rest = await engine.generate(
            prompt + first.tokens.tolist(), SamplingParams(max_tokens=30 - cut, seed=seed), request_id="cut"
        )
        assert np.concatenate([first.tokens, rest.tokens]).tolist() == whole.tokens.tolist()
        np.testing.assert_allclose(np.concatenate([first.logprobs, rest.logprobs]), whole.logprobs, atol=1e-4)
        if cut and cut < 30 and not release:
            assert rest.cached_tokens == len(prompt) + cut - 1
        await engine.close()

    asyncio.run(run())


async def test_interrupt_returns_tokens_so_far_and_only_of_those_named(engines, helpers):
    engine = engines(helpers.tiny_model("qwen3"), slots=2)
    sampling = SamplingParams(max_tokens=150, seed=3)
    whole = await engine.generate([1, 2], sampling, request_id="before")
    named, other, waiting = (
        asyncio.create_task(engine.generate([1, 2], sampling, request_id=name))
        for name in ("named", "other", "waiting")
    )
    await helpers.after_tokens(engine, 170)
    await engine.interrupt(["named", "waiting"])
    cut = await named
    assert cut.finish_reason is FinishReason.INTERRUPTED
    assert 0 < len(cut.tokens) < 150
    assert cut.tokens.tolist() == whole.tokens[: len(cut.tokens)].tolist()
    assert (await waiting).finish_reason is FinishReason.INTERRUPTED
    assert len((await other).tokens) == 150


async def test_new_weights_in_the_middle_of_a_generation(engines, helpers):
    """Tokens before come from the old weights, tokens after from the new ones alone, KV of the prompt included."""
    old, new = helpers.tiny_model("qwen3", seed=0), helpers.tiny_model("qwen3", seed=1)
    engine = engines(old, slots=1)
    prompt = list(range(40))
    running = asyncio.create_task(engine.generate(prompt, SamplingParams(max_tokens=100), request_id="a"))
    waiting = asyncio.create_task(engine.generate(prompt, SamplingParams(max_tokens=5), request_id="b"))
    await helpers.after_tokens(engine, 4)
    await engine.update_weights(1, new.state_dict())
    assert engine.version == 1
    first = await running
    assert first.finish_reason is FinishReason.INTERRUPTED
    assert set(first.versions.tolist()) == {0}
    so_far = prompt + first.tokens.tolist()
    rest = await engine.generate(so_far, SamplingParams(max_tokens=10), request_id="a")
    assert rest.versions.tolist() == [1] * 10
    np.testing.assert_allclose(first.logprobs, helpers.plain_distribution(old, so_far, 40)[0], atol=1e-4)
    everything = so_far + rest.tokens.tolist()
    np.testing.assert_allclose(rest.logprobs, helpers.plain_distribution(new, everything, len(so_far))[0], atol=1e-4)
    never_started = await waiting
    assert never_started.finish_reason is FinishReason.LENGTH
    assert never_started.versions.tolist() == [1] * 5


async def test_kv_of_old_weights_is_never_reused(engines, helpers):
    """Cached conversations in slots, parked ones and shared prefixes all equal a fresh engine after an update."""
    old, new = helpers.tiny_model("qwen3", seed=0), helpers.tiny_model("qwen3", seed=1)
    used, fresh = engines(old, slots=2), engines(new, slots=2)
    prompts = [[*range(50), index] for index in range(6)]
    sampling = SamplingParams(max_tokens=6)

    async def everything(engine):
        tasks = (engine.generate(prompt, sampling, request_id=f"{i}") for i, prompt in enumerate(prompts))
        return await asyncio.gather(*tasks)

    await everything(used)
    assert used.stats().extra["parked_tokens"] > 0
    await used.update_weights(5, new.state_dict())
    assert used.stats().extra["cached_conversations"] == 0
    for after, expected in zip(await everything(used), await everything(fresh), strict=True):
        assert after.tokens.tolist() == expected.tokens.tolist()
        np.testing.assert_allclose(after.logprobs, expected.logprobs, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama", "phi3"])
async def test_weights_from_a_folder_and_from_a_mapping_are_the_same(engines, helpers, family, tmp_path):
    new = helpers.tiny_model(family, seed=1)
    new.save_pretrained(tmp_path)
    from_folder, from_mapping = engines(helpers.tiny_model(family)), engines(helpers.tiny_model(family))
    tensors = copy.deepcopy(new.state_dict())
    await from_folder.update_weights(1, tmp_path)
    await from_mapping.update_weights(1, tensors)
    for tensor in tensors.values():
        tensor.zero_()  # the trainer goes on with its own copy
    for engine in (from_folder, from_mapping):
        answer = await engine.generate([1, 2, 3], SamplingParams(max_tokens=8), request_id="a")
        expected, _ = helpers.plain_distribution(new, [1, 2, 3, *answer.tokens.tolist()], 3)
        np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)
    loaded = EmbeddedEngine.from_folder(tmp_path, slots=1, max_context=32, threads=1, version=7)
    again = await loaded.generate([1, 2, 3], SamplingParams(max_tokens=8), request_id="a")
    await loaded.close()
    assert again.tokens.tolist() == answer.tokens.tolist()
    assert again.versions.tolist() == [7] * 8


async def test_weights_that_cannot_be_used_leave_the_engine_as_it_was(engines, helpers, tmp_path):
    model = helpers.tiny_model("qwen3")
    engine = engines(model, version=3)
    state = dict(model.state_dict())
    before = await engine.generate([1, 2], SamplingParams(max_tokens=5), request_id="a")
    with pytest.raises(PolicyError, match="must increase"):
        await engine.update_weights(3, state)
    with pytest.raises(PolicyError, match=r"missing model\.norm\.weight"):
        await engine.update_weights(4, {name: tensor for name, tensor in state.items() if name != "model.norm.weight"})
    with pytest.raises(PolicyError, match="unknown nonsense"):
        await engine.update_weights(4, {**state, "nonsense": torch.zeros(1)})
    with pytest.raises(PolicyError, match="has shape"):
        await engine.update_weights(4, {**state, "model.norm.weight": torch.zeros(3)})
    with pytest.raises(PolicyError, match="expected a tensor"):
        await engine.update_weights(4, {**state, "model.norm.weight": np.zeros(48)})
    with pytest.raises(PolicyError, match="no weights in"):
        await engine.update_weights(4, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(PolicyError, match="cannot read weights"):
        await engine.update_weights(4, tmp_path)
    save_file({"model.norm.weight": torch.zeros(48)}, tmp_path / "model.safetensors")
    with pytest.raises(PolicyError, match="another model"):
        await engine.update_weights(4, tmp_path)
    assert engine.version == 3
    after = await engine.generate([1, 2], SamplingParams(max_tokens=5), request_id="b")
    assert after.tokens.tolist() == before.tokens.tolist()


async def test_diverged_weights_fail_their_requests_and_sound_ones_heal_the_engine(engines, helpers):
    model = helpers.tiny_model("qwen3")
    engine = engines(model, slots=2)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    broken = {
        **state,
        "model.layers.0.self_attn.v_proj.weight": state["model.layers.0.self_attn.v_proj.weight"] * torch.nan,
    }
    await engine.update_weights(1, broken)
    with pytest.raises(PolicyError, match="not finite under version 1"):
        await engine.generate(list(range(30)), SamplingParams(max_tokens=5), request_id="a")
    await engine.update_weights(2, state)
    answer = await engine.generate([1, 2], SamplingParams(max_tokens=5), request_id="a")
    expected, _ = helpers.plain_distribution(model, [1, 2, *answer.tokens.tolist()], 2)
    np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)
