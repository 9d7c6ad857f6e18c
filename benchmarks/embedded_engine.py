"""Useful tokens per second of the embedded engine against transformers on the same model, in one run.

    python benchmarks/embedded_engine.py [--json FILE] [--threads N] [--model small|medium]

Two kinds of work. *Agentic*: 64 episodes of 10 turns; every turn samples a length of its own and then appends an
observation, so each turn extends its conversation. *Uniform*: 32 prompts of 64 tokens, 128 new tokens each. Baselines:
`generate` in batches, in the best of several batch sizes, conversations sorted by length and each row stopped at its
own length; and transformers' continuous batching. All run in this process with the same number of threads; none but the
embedded engine returns log-probs. Only sampled tokens that were asked for count.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    Qwen2Config,
    Qwen3Config,
    StoppingCriteria,
    StoppingCriteriaList,
)

from agentrl.policy import SamplingParams
from agentrl.policy.embedded import EmbeddedEngine

TARGETS = {"agentic": 3.0, "uniform": 1.1}
MAX_CONTEXT = 1024


@dataclass(frozen=True)
class Work:
    """Conversations: a first prompt each, then turns of (tokens to sample, tokens observed afterwards).

    Attributes:
        prompts: First tokens of each conversation.
        lengths: Tokens to sample, by conversation and turn.
        observations: Tokens appended after a turn, by conversation and turn.
    """

    prompts: list[list[int]]
    lengths: list[list[int]]
    observations: list[list[list[int]]]

    def sampled(self) -> int:
        """Return the number of tokens asked for."""
        return sum(sum(lengths) for lengths in self.lengths)

    def first_turns(self, turns: int) -> Work:
        """Return the same work cut after some turns."""
        return Work(self.prompts, [lengths[:turns] for lengths in self.lengths], self.observations)


def agentic_work(vocabulary: int, episodes: int = 64, turns: int = 10) -> Work:
    """Return ragged multi-turn work: prompts of 30-120, actions of 3-36 (most short), observations of 6-24 tokens."""
    random = np.random.default_rng(0)

    def tokens(low: int, high: int) -> list[int]:
        return [int(token) for token in random.integers(3, vocabulary, random.integers(low, high + 1))]

    lengths = np.clip(random.lognormal(2.4, 0.6, (episodes, turns)), 3, 36).astype(int).tolist()
    observations = [[tokens(6, 24) for _ in range(turns)] for _ in range(episodes)]
    return Work([tokens(30, 120) for _ in range(episodes)], lengths, observations)


def uniform_work(vocabulary: int) -> Work:
    """Return 32 prompts of 64 tokens with one turn of 128."""
    random = np.random.default_rng(1)
    prompts = [[int(token) for token in random.integers(3, vocabulary, 64)] for _ in range(32)]
    return Work(prompts, [[128]] * 32, [[[]]] * 32)


def make_model(name: str) -> Any:
    """Return a random model: small = 0.9 M (Qwen3), medium = 11 M (Qwen2)."""
    torch.manual_seed(0)
    common: dict[str, Any] = {"tie_word_embeddings": True, "max_position_embeddings": 2048, "num_key_value_heads": 2}
    config: Qwen2Config | Qwen3Config
    if name == "small":
        config = Qwen3Config(
            vocab_size=1024, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
            head_dim=32, **common,
        )  # fmt: skip
    else:
        config = Qwen2Config(
            vocab_size=8192,
            hidden_size=384,
            intermediate_size=1024,
            num_hidden_layers=5,
            num_attention_heads=6,
            **common,
        )
    config.pad_token_id, config.eos_token_id, config.bos_token_id = 0, None, None
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(config).eval()
    generation: Any = GenerationConfig
    model.generation_config = generation(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0)
    return model


def run_embedded(model: Any, work: Work, threads: int) -> float:
    """Return the seconds the embedded engine takes; every conversation is a coroutine, as in a rollout."""

    async def run() -> float:
        engine = EmbeddedEngine(
            copy.deepcopy(model), slots=len(work.prompts), max_context=MAX_CONTEXT, threads=threads, version=0
        )

        async def converse(index: int) -> None:
            tokens = list(work.prompts[index])
            for turn, length in enumerate(work.lengths[index]):
                sampling = SamplingParams(max_tokens=length, seed=index)
                answer = await engine.generate(tokens, sampling, request_id=f"{index}")
                if len(answer.tokens) != length:
                    raise RuntimeError(f"asked for {length} tokens, got {len(answer.tokens)}")
                tokens += answer.tokens.tolist() + work.observations[index][turn]
            await engine.release(f"{index}")

        await engine.generate([1, 2, 3], SamplingParams(max_tokens=4), request_id="warm-up")
        started = time.perf_counter()
        await asyncio.gather(*(converse(index) for index in range(len(work.prompts))))
        seconds = time.perf_counter() - started
        await engine.close()
        return seconds

    return asyncio.run(run())


class _StopAtOwnLength(StoppingCriteria):
    """Stops each row at its own number of tokens."""

    def __init__(self, prompt: int, lengths: list[int]) -> None:
        self._ends = torch.tensor(lengths) + prompt

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        return torch.as_tensor(input_ids.shape[1] >= self._ends)  # type: ignore[return-value]


def run_generate(model: Any, work: Work, batch: int) -> float:
    """Return the seconds `generate` takes turn by turn: conversations sorted by length, in batches, padded left."""
    conversations = [list(prompt) for prompt in work.prompts]
    started = time.perf_counter()
    for turn in range(len(work.lengths[0])):
        order = sorted(range(len(conversations)), key=lambda index: len(conversations[index]))
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            width = max(len(conversations[index]) for index in rows)
            ids = torch.zeros(len(rows), width, dtype=torch.int64)
            mask = torch.zeros(len(rows), width, dtype=torch.int64)
            for row, index in enumerate(rows):
                ids[row, width - len(conversations[index]) :] = torch.tensor(conversations[index])
                mask[row, width - len(conversations[index]) :] = 1
            lengths = [work.lengths[index][turn] for index in rows]
            with torch.inference_mode():
                output = model.generate(
                    ids,
                    attention_mask=mask,
                    max_new_tokens=max(lengths),
                    stopping_criteria=StoppingCriteriaList([_StopAtOwnLength(width, lengths)]),
                )
            for row, index in enumerate(rows):
                conversations[index] += output[row, width : width + lengths[row]].tolist()
                conversations[index] += work.observations[index][turn]
    return time.perf_counter() - started


def run_continuous(model: Any, work: Work) -> float:
    """Return the seconds transformers' continuous batching takes; conversations go on as soon as a turn is done."""
    conversations = [list(prompt) for prompt in work.prompts]
    turns = [0] * len(conversations)
    with model.continuous_batching_context_manager(block=True, timeout=5) as manager:

        def submit(index: int) -> None:
            manager.add_request(
                conversations[index], f"{index}-{turns[index]}", max_new_tokens=work.lengths[index][turns[index]]
            )

        started = time.perf_counter()
        for index in range(len(conversations)):
            submit(index)
        open_requests = len(conversations)
        while open_requests:
            result = manager.get_result(timeout=60)
            if result is None or result.error:
                raise RuntimeError(f"continuous batching failed: {'no answer' if result is None else result.error}")
            index = int(result.request_id.split("-")[0])
            conversations[index] += list(result.generated_tokens) + work.observations[index][turns[index]]
            turns[index] += 1
            if turns[index] < len(work.lengths[index]):
                submit(index)
            else:
                open_requests -= 1
        return time.perf_counter() - started


@dataclass
class Rates:
    """Sampled tokens per second of wall time and per second of processor time, each from the best repeat."""

    wall: float = 0.0
    processor: float = 0.0

    def add(self, run: Callable[[], float], work: Work) -> None:
        """Run once more; start-up of a thread or an engine is outside wall time and negligible in processor time."""
        before = time.process_time()
        seconds = run()
        processor = time.process_time() - before
        self.wall = max(self.wall, work.sampled() / seconds)
        self.processor = max(self.processor, work.sampled() / processor)


def compare(name: str, kind: str, threads: int) -> dict[str, Any]:
    """Run one kind of work on every engine."""
    model = make_model(name)
    vocabulary = model.config.vocab_size
    agentic = kind == "agentic"
    work = agentic_work(vocabulary) if agentic else uniform_work(vocabulary)
    repeats = 1 if agentic else 2
    sizes = [32, 64] if agentic else [32]
    run_generate(model, Work(work.prompts, [[4]] * 64, work.observations), 64)  # warm-up
    trial = work.first_turns(1)
    best = sizes[0] if len(sizes) == 1 else min(sizes, key=lambda size: run_generate(model, trial, size))
    embedded, generate, continuous = Rates(), Rates(), Rates()
    for _ in range(repeats):  # in turns, so that other work on the machine meets both
        embedded.add(lambda: run_embedded(model, work, threads), work)
        generate.add(lambda: run_generate(model, work, best), work)
    # Continuous batching sees the shortest contexts only, its easiest part: it is slow here.
    short = work.first_turns(2) if agentic else Work(work.prompts, [[48]] * 32, work.observations)
    failure = None
    try:
        continuous.add(lambda: run_continuous(copy.deepcopy(model), short), short)
    except Exception as error:  # whatever a foreign engine raises is a line of the table, not the end of the run
        failure = f"{type(error).__name__}: {error}"
    return {
        "model": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "work": kind,
        "sampled_tokens": work.sampled(),
        "generate_batch_size": best,
        "embedded": vars(embedded),
        "generate": vars(generate),
        "continuous": None if failure else vars(continuous),
        "continuous_error": failure,
        "ratio_to_generate": embedded.wall / generate.wall,
        "processor_ratio_to_generate": embedded.processor / generate.processor,
        "ratio_to_continuous": None if failure else embedded.wall / continuous.wall,
        "target": TARGETS[kind],
    }


def main() -> None:
    """Run every comparison and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--threads", type=int, default=max(1, (os.cpu_count() or 1) // 2), help="CPU threads of each engine"
    )
    parser.add_argument("--model", choices=["small", "medium"], help="one model only")
    options = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    table = Table(title=f"sampled tokens/s, {options.threads} threads, float32")
    columns = ("embedded", "generate", "continuous", "x generate", "(by CPU time)", "target", "x continuous")
    for column in ("model", "work", *columns):
        table.add_column(column, justify="right" if column in columns else "left")
    results = []
    for name in [options.model] if options.model else ["small", "medium"]:
        for kind in ("uniform", "agentic"):
            result = compare(name, kind, options.threads)
            results.append(result)
            continuous = result["continuous"]
            table.add_row(
                f"{name} {result['parameters'] / 1e6:.1f}M",
                kind,
                f"{result['embedded']['wall']:,.0f}",
                f"{result['generate']['wall']:,.0f}",
                f"{continuous['wall']:,.0f}" if continuous else "failed",
                f"{result['ratio_to_generate']:.2f}",
                f"{result['processor_ratio_to_generate']:.2f}",
                f"{result['target']:.1f}",
                f"{result['ratio_to_continuous']:.2f}" if continuous else "-",
            )
    Console(width=120).print(table)
    for result in results:
        if result["continuous_error"]:
            print(f"continuous batching, {result['model']} {result['work']}: {result['continuous_error']}")
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "results": results}, indent=2))


if __name__ == "__main__":
    main()
