"""Warm start: it learns the experts' tokens and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agentrl.config import SftSection
from agentrl.errors import ConfigError
from agentrl_trainers.learner import PolicyModel, load_model, make_rows, pack
from agentrl_trainers.sft import SftProgress, sft

SECTION = SftSection(epochs=12, batch=4, lr=1e-2)


def logprobs(folder: Path, trajectories) -> torch.Tensor:
    """Return the log-probs of all action tokens under a model folder."""
    rows = make_rows(trajectories, torch.zeros(sum(trajectory.sampled_tokens() for trajectory in trajectories)))
    (micro,) = pack(rows, 10_000)
    with torch.no_grad():
        found, _ = PolicyModel(load_model(folder)).logprobs(micro, 1.0)
    return found[torch.argsort(micro.flat_M)]


def test_expert_actions_become_likely(tiny_model: Path, tmp_path: Path, make_trajectory) -> None:
    trajectories = [make_trajectory(f"e{index}", (3, 3)) for index in range(8)]
    steps: list[SftProgress] = []
    report = sft(tiny_model, trajectories, SECTION, seed=0, output=tmp_path / "out", progress=steps.append, threads=1)
    assert report.steps == len(steps) == steps[-1].steps == 24
    assert report.first_loss > 3.5 and report.last_loss < 0.5 * report.first_loss
    assert report.action_tokens == 8 * 6 * 12
    assert logprobs(report.model, trajectories).mean() > logprobs(tiny_model, trajectories).mean() + 2
    assert (report.model / "tokenizer.json").is_file()


def test_the_same_seed_gives_the_same_model(tiny_model: Path, tmp_path: Path, make_trajectory) -> None:
    trajectories = [make_trajectory(f"e{index}", (3, 2)) for index in range(6)]
    section = SECTION.model_copy(update={"epochs": 2})
    models = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sft(tiny_model, trajectories, section, seed=seed, output=tmp_path / name, threads=1)
        models.append((tmp_path / name / "model.safetensors").read_bytes())
    assert models[0] == models[1] != models[2]


def test_the_size_of_micro_batches_changes_nothing_that_matters(tiny_model, tmp_path, make_trajectory) -> None:
    trajectories = [make_trajectory(f"e{index}", (3, 2), prompt=2 + index) for index in range(4)]
    section = SECTION.model_copy(update={"epochs": 1})
    for name, budget in (("a", 10_000), ("b", 1)):
        sft(tiny_model, trajectories, section, seed=0, output=tmp_path / name, token_budget=budget, threads=1)
    torch.testing.assert_close(logprobs(tmp_path / "a", trajectories), logprobs(tmp_path / "b", trajectories))


def test_nothing_to_imitate_is_an_error(tiny_model: Path, tmp_path: Path, make_trajectory) -> None:
    with pytest.raises(ConfigError, match="none of the 1 trajectories has an action token"):
        sft(tiny_model, [make_trajectory("empty", ())], SECTION, seed=0, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
