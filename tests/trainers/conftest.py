"""Golden files and tiny trajectories for the trainer's tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentrl.trajectory import Segment, Span, SpanKind, Status, StopReason, Trajectory, Turn

GOLDEN = Path(__file__).parents[1] / "golden"

MakeTrajectory = Callable[..., Trajectory]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], list[dict[str, Any]]]:
    """Return the cases of a golden file by its name."""

    def load(name: str) -> list[dict[str, Any]]:
        cases: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text())["cases"]
        return cases

    return load


@pytest.fixture(scope="session")
def make_trajectory() -> MakeTrajectory:
    """Return a builder of single- or multi-segment trajectories of random tokens."""

    def make(
        name: str,
        turns: Sequence[int] = (3, 2),
        *,
        group: str = "g",
        reward: float | None = 1.0,
        turn_rewards: Sequence[float] | None = None,
        segments: Sequence[int] | None = None,
        version: int = 0,
        prompt: int = 4,
        observation: int = 2,
        vocabulary: int = 64,
        seed: int = 0,
        status: Status = Status.OK,
        **fields: Any,
    ) -> Trajectory:
        random = np.random.default_rng([seed, *name.encode()])

        def tokens(count: int) -> np.ndarray:
            return random.integers(0, vocabulary, count).astype(np.int32)

        which = segments or [0] * len(turns)
        windows: list[list[Span]] = [[] for _ in range(max(which, default=0) + 1)]
        made = []
        for index, (length, window) in enumerate(zip(turns, which, strict=True)):
            spans = windows[window]
            kind = SpanKind.OBSERVATION if spans else SpanKind.PROMPT
            spans.append(Span(f"{name}/{index}/before", kind, tokens(prompt if not spans else observation)))
            spans.append(
                Span(
                    f"{name}/{index}/action",
                    SpanKind.ACTION,
                    tokens(length),
                    logprobs=np.log(random.uniform(0.01, 0.05, length)).astype(np.float32),
                    versions=np.full(length, version, np.int32),
                    entropies=random.uniform(0, 1, length).astype(np.float32),
                )
            )
            rewards = {"step": turn_rewards[index]} if turn_rewards else {}
            made.append(Turn(window, len(spans) - 1, "", rewards=rewards))
        return Trajectory(
            id=name,
            group_id=group,
            env="test",
            task_id=group,
            split="train",
            seed=seed,
            member=0,
            segments=tuple(Segment(tuple(spans)) for spans in windows),
            turns=tuple(made),
            reward=reward,
            status=status,
            stop_reason=StopReason.COMPLETED,
            **fields,
        )

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a random Qwen3 of hidden size 32 and 64 tokens, with a stand-in for a tokenizer file."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


def make_model(folder: Path, **changes: Any) -> Path:
    """Write a random tiny Qwen3."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "tie_word_embeddings": True,
        "max_position_embeddings": 256,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen3ForCausalLM(Qwen3Config(**(shape | changes))).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model with a larger vocabulary."""
    return make_model(tmp_path_factory.mktemp("model") / "other", vocab_size=80)
