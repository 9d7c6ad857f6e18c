"""Objectives by name, with options from a run file."""

from __future__ import annotations

import pytest
import torch

from agentrl.config import TrainerSection
from agentrl.errors import ConfigError
from agentrl_trainers.objectives import aggregation_of, gspo, objective, objective_of, ppo_clip

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


def test_every_objective_brings_its_authors_options_and_aggregation() -> None:
    section = TrainerSection(objective="gspo")
    bound = objective_of(section)
    assert aggregation_of(section, bound) == "seq-mean-token-mean"
    rows = torch.tensor([0, 1])
    expected = gspo(LOGPROB, BEHAVIOUR, ADVANTAGE, sequence_K=rows, clip_low=3e-4, clip_high=4e-4)
    assert torch.equal(bound(LOGPROB, PROXIMAL, BEHAVIOUR, ADVANTAGE, sequence_K=rows).loss_K, expected.loss_K)
    other = TrainerSection(objective="gspo", aggregation="token-mean", objective_options={"clip_low": 0.5})
    assert aggregation_of(other, objective_of(other)) == "token-mean"
    assert not torch.equal(
        objective_of(other)(LOGPROB, PROXIMAL, BEHAVIOUR, ADVANTAGE, sequence_K=rows).loss_K, expected.loss_K
    )


def test_a_correction_moves_the_ratio_to_the_proximal_policy_so_nothing_counts_twice() -> None:
    plain = objective("ppo_clip")(LOGPROB, PROXIMAL, BEHAVIOUR, ADVANTAGE)
    assert torch.equal(plain.loss_K, ppo_clip(LOGPROB, BEHAVIOUR, ADVANTAGE).loss_K)
    corrected = objective("ppo_clip", mismatch="tis")(LOGPROB, PROXIMAL, BEHAVIOUR, ADVANTAGE)
    weight_K = (PROXIMAL - BEHAVIOUR).exp().clamp(max=2.0)
    torch.testing.assert_close(corrected.loss_K, weight_K * ppo_clip(LOGPROB, PROXIMAL, ADVANTAGE).loss_K)
    torch.testing.assert_close(corrected.importance_K, weight_K)
    dropped = objective("ppo_clip", mismatch="icepop")(LOGPROB, PROXIMAL, BEHAVIOUR, ADVANTAGE)
    assert dropped.loss_K[1] == 0 and dropped.filtered_K.tolist() == [False, True]
    for name in ("decoupled_ppo", "prime_rl", "m2po"):
        with pytest.raises(ConfigError, match="would count twice"):
            objective(name, mismatch="tis")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"objective": "gspo", "objective_options": {"clip_hihg": 1.0}},
            r"no option 'clip_hihg'; did you mean 'clip_high'",
        ),
        ({"objective": "gspo", "objective_options": {"clip_high": "wide"}}, r"objective_options of 'gspo' do not fit"),
        ({"objective": "sapo", "clip_high": 0.5}, r"clip_high = 0.5 has no effect.*'sapo'.*temperature_positive"),
        ({"objective": "gspo", "importance_cap": 2.0}, r"importance_cap = 2.0 has no effect"),
        (
            {"objective": "gspo", "mismatch": "tis", "mismatch_options": {"uper": 3}},
            r"no option 'uper'; did you mean 'upper'",
        ),
        (
            {"objective": "gspo", "mismatch": "mis", "mismatch_options": {"criteria": "k9"}},
            r"criterion 'k9' is unknown",
        ),
        ({"objective": "gspo", "mismatch": "mis", "mismatch_options": {"bounds": "a"}}, r"expected numbers"),
        ({"objective": "gspo", "mismatch_options": {"upper": 3}}, r"no option 'upper'"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(fields, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objective_of(TrainerSection(**fields))
