"""Objectives by name, with options from a run file."""

from __future__ import annotations

import pytest
import torch

from agentrl.config import TrainerSection
from agentrl.errors import ConfigError
from agentrl_trainers.objectives import objective, ppo_clip

LOGPROB, PROXIMAL, BEHAVIOUR = (torch.tensor(values) for values in ([-1.0, -2.0], [-1.4, -1.9], [-1.6, -1.0]))
ADVANTAGE = torch.tensor([1.0, -0.5])


def test_the_clip_ranges_of_the_run_file_reach_the_objective() -> None:
    section = TrainerSection(objective="ppo_clip", clip_low=0.1, clip_high=0.5)
    result = objective("ppo_clip", section.model_dump())(LOGPROB, PROXIMAL, BEHAVIOUR, ADVANTAGE)
    expected = ppo_clip(LOGPROB, BEHAVIOUR, ADVANTAGE, clip_low=0.1, clip_high=0.5)
    assert torch.equal(result.loss_K, expected.loss_K)
    assert result.loss_K[0].item() == pytest.approx(-1.5)


def test_the_importance_cap_of_the_run_file_reaches_the_objective() -> None:
    section = TrainerSection(importance_cap=1.1)
    result = objective("decoupled_ppo", section.model_dump())(LOGPROB, PROXIMAL, BEHAVIOUR, ADVANTAGE)
    assert result.filtered_K.tolist() == [True, False]
    assert result.importance_K.tolist() == pytest.approx([0.0, 0.40657], abs=1e-5)


def test_an_unknown_objective_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no such objective; did you mean 'ppo_clip'"):
        objective("ppo-clip", {})
