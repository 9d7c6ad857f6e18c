"""Tiny random models and engines on them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from agentrl.policy.embedded import EmbeddedEngine

# Reference forwards are tiny: a second thread would only wait for a processor.
torch.set_num_threads(1)

VOCABULARY = 89
CONTEXT = 160


def tiny_model(family: str, seed: int = 0) -> Any:
    """Return a random model whose distributions are neither flat nor certain."""
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.25,
    }
    torch.manual_seed(seed)
    match family:
        case "qwen3":
            config = transformers.Qwen3Config(**shape, head_dim=16, tie_word_embeddings=True)
        case "qwen2":
            config = transformers.Qwen2Config(**shape, tie_word_embeddings=False)
        case "llama":
            rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
            config = transformers.LlamaConfig(**shape, attention_bias=True, mlp_bias=True, rope_parameters=rope)
        case "gpt_neox":
            config = transformers.GPTNeoXConfig(**shape)
        case "phi3":
            config = transformers.Phi3Config(**shape, pad_token_id=0)
        case _:
            raise ValueError(family)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def plain_distribution(model: Any, tokens: list[int], start: int) -> tuple[np.ndarray, np.ndarray]:
    """Return log-probs and entropies of tokens[start:] by one plain forward."""
    ids = torch.tensor([tokens])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits[0, start - 1 : -1].float(), -1)
    chosen = logprobs.gather(1, ids[0, start:, None])[:, 0]
    return chosen.numpy(), -(logprobs.exp() * logprobs).sum(-1).numpy()


async def after_tokens(engine: EmbeddedEngine, count: int) -> None:
    """Wait until the engine has sampled `count` tokens; it runs in a thread and tells nobody."""
    async with asyncio.timeout(20):
        while engine.stats().sampled_tokens < count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture
async def engines() -> AsyncIterator[Callable[..., EmbeddedEngine]]:
    """A maker of engines that are closed after the test; the model given to it is copied."""
    made: list[EmbeddedEngine] = []

    def make(model: Any, *, slots: int = 4, max_context: int = CONTEXT, **options: Any) -> EmbeddedEngine:
        engine = EmbeddedEngine(copy.deepcopy(model), slots=slots, max_context=max_context, threads=1, **options)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.close()
