"""Scoring true answers: the right tokens, the weights of one version, and nothing of it where the policy generates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM

from agentrl.errors import ConfigError, PolicyError, TaskError
from agentrl.policy.embedded import EmbeddedEngine
from agentrl.testing import ScriptedEngine
from agentrl.trajectory._types import Float32, Int32
from agentrl_trainers.credit import assign, credit_batch
from agentrl_trainers.credit.information import (
    PREFIX,
    SUFFIX,
    OffsetEncoder,
    answer_tokens,
    information_gain_scores,
    offset_encoder,
    with_beliefs,
)


def characters(text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
    """Encode one token per character."""
    return [ord(char) for char in text], [(index, index + 1) for index in range(len(text))]


class RecordingEngine(ScriptedEngine):
    """Notes what it scores; `on_score` is called before each answer."""

    def __init__(self, on_score: Callable[[], None] = lambda: None, **options: Any) -> None:
        super().__init__([], **options)
        self.scored: list[tuple[tuple[int, ...], int]] = []
        self.waiting = 0
        self.most_waiting = 0
        self.on_score = on_score

    async def score(self, tokens: Sequence[int] | Int32, start: int) -> Float32:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        self.scored.append((tuple(int(token) for token in tokens), start))
        self.on_score()
        return await super().score(tokens, start)


@pytest.fixture
def merging(tmp_path: Path) -> OffsetEncoder:
    """Return an encoder whose vocabulary merges the line break before an answer with the answer's first letter."""
    letters = sorted(set(PREFIX + SUFFIX + "Paris"))
    vocabulary = {letter: index for index, letter in enumerate(letters)} | {
        "\nP": len(letters),
        "s\n": len(letters) + 1,
    }
    Tokenizer(models.BPE(vocabulary, [("\n", "P"), ("s", "\n")])).save(str(tmp_path / "tokenizer.json"))
    return offset_encoder(tmp_path)


def test_the_answer_is_found_by_characters_where_tokens_merge_over_its_edges(merging: OffsetEncoder) -> None:
    found = answer_tokens(merging, "Paris")
    ids, _ = merging(PREFIX + "Paris" + SUFFIX)
    # "\nP", "a", "r", "i", "s\n": counting the prefix's own tokens would begin one too late.
    assert found.start == len(PREFIX) - 1
    assert found.tokens.tolist() == list(ids[: found.start + 5])
    assert len(found.tokens) - found.start == 5
    plain = answer_tokens(characters, "Paris")
    assert bytes(plain.tokens[plain.start :].tolist()) == b"Paris"


def test_an_empty_answer_and_a_missing_tokenizer_are_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="empty"):
        answer_tokens(characters, "")
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        offset_encoder(tmp_path)


async def test_every_turn_is_scored_after_the_very_tokens_the_policy_saw(make_trajectory: Any) -> None:
    first, second = make_trajectory("a", (3, 2, 4)), make_trajectory("b", (2, 2), segments=(0, 1))
    engine = RecordingEngine(logprob=lambda token, version: -token / 100)
    scores = await information_gain_scores(engine, characters, [first, second], ["Rome", "Oslo"], prefix="> ")
    assert [len(row) for row in scores] == [3, 2]
    assert all(
        row == pytest.approx(-np.mean([ord(char) for char in word]) / 100)
        for row, word in zip(scores, ("Rome", "Oslo"), strict=True)
    )
    seen = {tokens[: start - 2]: tokens[start:] for tokens, start in engine.scored}
    spans = first.segments[0].spans
    for turn in first.turns:
        before = tuple(int(token) for span in spans[: turn.action] for token in span.tokens)
        assert bytes(seen[before]) == b"Rome"
    fresh = tuple(int(token) for token in second.segments[1].spans[0].tokens)
    assert bytes(seen[fresh]) == b"Oslo"
    assert engine.most_waiting == 5  # all turns of all rollouts at once
    assert engine.calls == []  # an answer is scored, never generated from
    assert credit_batch([first]).belief_T is None  # and the trajectory is as it was


async def test_the_belief_is_that_of_a_plain_forward_pass(make_trajectory: Any, tiny_model: Path) -> None:
    def small(text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        return [ord(char) % 64 for char in text], characters(text)[1]

    trajectory = make_trajectory("a", (3, 2))
    engine = EmbeddedEngine.from_folder(tiny_model, slots=2, max_context=64, threads=1)
    try:
        (scores,) = await information_gain_scores(engine, small, [trajectory], ["Paris"], prefix="> ", suffix="<")
    finally:
        await engine.close()
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    spans = trajectory.segments[0].spans
    for turn, score in zip(trajectory.turns, scores, strict=True):
        context = [int(token) for span in spans[: turn.action] for token in span.tokens]
        tokens = torch.tensor([context + list(small("> Paris")[0])])
        with torch.no_grad():
            logprobs = model(tokens).logits[0].log_softmax(-1)
        told = [logprobs[place - 1, tokens[0, place]].item() for place in range(tokens.shape[1] - 5, tokens.shape[1])]
        assert score == pytest.approx(sum(told) / 5, abs=1e-4)


async def test_beliefs_become_credit(make_trajectory: Any) -> None:
    pair = [make_trajectory(name, (2, 2), reward=reward) for name, reward in (("a", 1.0), ("b", 0.0))]
    scores = [np.array([-2.0, -0.5]), np.array([-2.0, -2.5])]
    told = [with_beliefs(one, score) for one, score in zip(pair, scores, strict=True)]
    assert assign("igpo", credit_batch(told)).tolist() == pytest.approx([2, 2, 1, 1, -2, -2, -1, -1], abs=1e-3)


async def test_scores_of_two_versions_of_the_weights_are_never_compared(make_trajectory: Any) -> None:
    changes = iter([1, 2])

    def on_score() -> None:
        engine._version = next(changes, engine._version)

    engine = RecordingEngine(on_score, logprob=lambda token, version: -float(version))
    (scores,) = await information_gain_scores(engine, characters, [make_trajectory("a", (1, 1))], ["x"])
    assert scores.tolist() == [-2.0, -2.0]
    engine = RecordingEngine(on_score, logprob=lambda token, version: -1.0)
    changes = iter(range(1, 99))
    (scores,) = await information_gain_scores(engine, characters, [make_trajectory("a", (1, 1))], ["x"], attempts=2)
    assert np.isnan(scores).all()


async def test_an_answer_that_does_not_fit_is_unknown_and_not_an_error(make_trajectory: Any) -> None:
    trajectory = make_trajectory("a", (3, 3), prompt=4, observation=2)
    engine = RecordingEngine(max_context=4 + 6)
    (scores,) = await information_gain_scores(engine, characters, [trajectory], ["Paris"], prefix=">")
    assert not np.isnan(scores[0])
    assert np.isnan(scores[1])


async def test_an_engine_that_dies_or_hangs_is_reported(make_trajectory: Any) -> None:
    engine = RecordingEngine()
    engine.die(PolicyError("out of memory"))
    with pytest.raises(PolicyError, match="out of memory"):
        await information_gain_scores(engine, characters, [make_trajectory("a")], ["x"])

    class Hanging(RecordingEngine):
        async def score(self, tokens: Sequence[int] | Int32, start: int) -> Float32:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(PolicyError, match=r"longer than 0\.01 s"):
        await information_gain_scores(Hanging(), characters, [make_trajectory("a")], ["x"], deadline=0.01)
    with pytest.raises(ValueError, match="2 answers for 1"):
        await information_gain_scores(engine, characters, [make_trajectory("a")], ["x", "y"])
