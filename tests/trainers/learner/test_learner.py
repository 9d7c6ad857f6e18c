"""The learner's steps: exact log-probs, invariance to packing, the staleness bound, bad numbers, and learning."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agentrl.config import TrainerSection
from agentrl.errors import ConfigError
from agentrl_trainers.learner import Learner, Row, TrainingDivergedError, make_rows

SECTION = TrainerSection(lr=1e-2, token_budget=64, threads=1)


@pytest.fixture
def rows(make_trajectory) -> list[Row]:
    trajectories = [make_trajectory(f"t{index}", (2 + index % 3, 3), prompt=3 + index) for index in range(6)]
    count = sum(trajectory.sampled_tokens() for trajectory in trajectories)
    return make_rows(trajectories, torch.randn(count, generator=torch.Generator().manual_seed(0)))


def learner(folder: Path, changes: dict[str, Any] | None = None, **options: Any) -> Learner:
    return Learner(folder, SECTION.model_copy(update=changes or {}), **options)


def on_policy(trainer: Learner, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the log-probs that the learner's own weights give."""
    logprob_K, _ = trainer.logprobs(rows)
    parts = np.split(logprob_K.numpy(), np.cumsum([len(row.position_K) for row in rows])[:-1])
    return [replace(row, behaviour_K=part) for row, part in zip(rows, parts, strict=True)]


def gradient(trainer: Learner, rows: Sequence[Row], monkeypatch: pytest.MonkeyPatch) -> tuple[float, torch.Tensor]:
    """Return loss and gradient of one step, whose update is not made."""
    found: list[torch.Tensor] = []

    def keep() -> None:
        found.extend(p.grad.flatten().double() for p in trainer.policy.module.parameters() if p.grad is not None)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.optimizer, "step", keep)
        report = trainer.train_step(rows)
    return report.loss, torch.cat(found)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_entropies_are_those_of_a_plain_forward(tiny_model: Path, rows, temperature: float) -> None:
    trainer = learner(tiny_model, temperature=temperature)
    logprob_K, entropy_K = trainer.logprobs(rows)
    start = 0
    for row in rows:
        with torch.no_grad():
            logits = trainer.policy.module(torch.from_numpy(row.tokens_L).long()[None]).logits[0]
        logprobs = torch.log_softmax(logits / temperature, -1)[row.position_K - 1]
        sampled = torch.from_numpy(row.tokens_L[row.position_K]).long()
        end = start + len(sampled)
        torch.testing.assert_close(logprob_K[start:end], logprobs.gather(1, sampled[:, None])[:, 0])
        torch.testing.assert_close(entropy_K[start:end], -(logprobs.exp() * logprobs).sum(-1))
        start = end


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"])
@pytest.mark.parametrize("bonus", [0.0, 0.1])
def test_order_padding_and_micro_batches_do_not_change_the_gradient(
    tiny_model: Path, rows, monkeypatch, aggregation, bonus: float
) -> None:
    def run(rows: Sequence[Row], budget: int) -> tuple[float, torch.Tensor]:
        changes = {"token_budget": budget, "entropy_bonus": bonus, "max_grad_norm": 1e9}
        return gradient(learner(tiny_model, changes, aggregation=aggregation), rows, monkeypatch)

    loss, whole = run(rows, 10_000)
    for other, budget in ((rows, 1), (rows, 40), (rows[::-1], 10_000), (rows[3:] + rows[:3], 25)):
        other_loss, parts = run(other, budget)
        assert other_loss == pytest.approx(loss, rel=1e-5)
        assert (parts - whole).norm() < 1e-6 * whole.norm()


def test_rows_without_credit_save_their_forward_but_stay_in_the_denominator(
    tiny_model: Path, rows, monkeypatch
) -> None:
    silent = [replace(row, advantage_K=0 * row.advantage_K, sequence=row.sequence + 100) for row in rows]
    free = {"max_grad_norm": 1e9}
    alone_loss, alone = gradient(learner(tiny_model, free), rows, monkeypatch)
    loss, both = gradient(learner(tiny_model, free), [*silent, *rows], monkeypatch)
    assert loss == pytest.approx(alone_loss / 2, rel=1e-5)
    assert (both - alone / 2).norm() < 1e-5 * alone.norm()
    report = learner(tiny_model).train_step([*silent, *rows])
    assert report.tokens_skipped == report.tokens_trained == report.tokens_total // 2
    # An entropy bonus concerns every token, so nothing is skipped for it.
    bonus = learner(tiny_model, {"entropy_bonus": 0.01}).train_step([*silent, *rows])
    assert (bonus.tokens_skipped, bonus.tokens_trained) == (0, report.tokens_total)


def test_no_token_beyond_the_staleness_bound_is_trained_on(tiny_model: Path, rows, monkeypatch) -> None:
    fresh, stale = rows[:3], rows[3:]
    stale = [replace(row, version_K=row.version_K - 3) for row in stale]
    trainer = learner(tiny_model, {"max_grad_norm": 1e9}, staleness=2)
    _, both = gradient(trainer, [*fresh, *stale], monkeypatch)
    alone_trainer = learner(tiny_model, {"max_grad_norm": 1e9}, staleness=2)
    _, alone = gradient(alone_trainer, fresh, monkeypatch)
    fresh_count, stale_count = (sum(len(row.position_K) for row in part) for part in (fresh, stale))
    share = fresh_count / (fresh_count + stale_count)
    assert (both - alone * share).norm() < 1e-5 * alone.norm()
    report = learner(tiny_model, staleness=2).train_step([*fresh, *stale])
    assert (report.tokens_masked, report.tokens_trained) == (stale_count, fresh_count)
    assert report.staleness_max == 0
    # The bound is per token: one row may hold both.
    mixed = replace(rows[0], version_K=np.where(np.arange(len(rows[0].version_K)) == 0, -9, 0).astype(np.int32))
    assert learner(tiny_model, staleness=2).train_step([mixed]).tokens_masked == 1


def test_a_batch_with_nothing_to_learn_changes_no_weight_and_says_so(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model)
    trainer.train_step(rows)
    before = trainer.weights()
    report = trainer.train_step([replace(row, advantage_K=0 * row.advantage_K) for row in rows])
    assert report.skipped is not None and "advantage" in report.skipped and report.updates == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.weights().items())
    assert trainer.train_step([]).tokens_total == 0


def test_tokens_of_a_version_not_yet_made_are_refused(tiny_model: Path, rows) -> None:
    newer = replace(rows[0], version_K=rows[0].version_K + 1)
    with pytest.raises(ValueError, match=r"t0 has tokens of version 1, but the learner is at version 0"):
        learner(tiny_model).train_step([newer])


def test_on_policy_rows_have_no_divergence_and_a_ratio_of_one(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model)
    report = trainer.train_step(on_policy(trainer, rows))
    assert report.fresh_gap_max < 1e-5 and report.kl_behaviour_max < 1e-6
    assert report.importance == pytest.approx(1, abs=1e-5) and report.clip_fraction == 0
    assert report.entropy == pytest.approx(np.log(64), rel=0.05)
    assert report.metrics()["tokens_total"] == sum(len(row.position_K) for row in rows)


def test_several_minibatches_take_the_proximal_policy_from_before_the_first(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model, {"minibatches": 3})
    report = trainer.train_step(on_policy(trainer, rows))
    assert report.updates == 3
    # The policy moved between the updates, and behaviour = proximal keeps every importance weight at 1.
    assert report.kl_proximal_max > 1e-4
    assert report.importance_max == pytest.approx(1, abs=1e-5)


def test_training_raises_the_probability_of_what_was_good(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model)
    signs = [1.0 if index % 2 else -1.0 for index in range(len(rows))]
    rows = [replace(row, advantage_K=0 * row.advantage_K + sign) for row, sign in zip(rows, signs, strict=True)]
    before, _ = trainer.logprobs(rows)
    for step in range(8):
        report = trainer.train_step(on_policy(trainer, rows))
        assert report.step == step + 1 and report.grad_norm > 0
    after, _ = trainer.logprobs(rows)
    sign_K = torch.from_numpy(np.concatenate([row.advantage_K for row in rows]))
    gain_K = (after - before) * sign_K
    assert gain_K.mean() > 0.3


def test_published_weights_do_not_move_with_training(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model)
    published = trainer.weights()
    frozen = copy.deepcopy(published)
    trainer.train_step(rows)
    assert all(torch.equal(published[name], frozen[name]) for name in frozen)
    assert any(not torch.equal(published[name], tensor) for name, tensor in trainer.weights().items())
    assert set(published) == set(trainer.policy.module.state_dict())


def test_the_learning_rate_warms_up_linearly(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model, {"warmup_steps": 4})
    rates = [trainer.train_step(rows).lr for _ in range(6)]
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])


def test_numbers_that_are_not_finite_never_reach_the_weights(tiny_model: Path, rows) -> None:
    trainer = learner(tiny_model)
    before = trainer.weights()
    bad = [replace(row, advantage_K=row.advantage_K * np.float32("nan")) for row in rows]
    for _ in range(2):
        report = trainer.train_step(bad)
        assert report.updates_skipped == 1 and report.skipped is not None and "not finite" in report.skipped
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.weights().items())
    with pytest.raises(TrainingDivergedError, match=r"3 updates in a row.*trainer\.lr"):
        trainer.train_step(bad)


def test_a_large_vocabulary_is_scored_in_pieces_with_the_same_gradient(tiny_model: Path, rows, monkeypatch) -> None:
    _, whole = gradient(learner(tiny_model), rows, monkeypatch)
    monkeypatch.setattr("agentrl_trainers.learner._model.CHUNK", 64 * 4)
    _, pieces = gradient(learner(tiny_model), rows, monkeypatch)
    assert (pieces - whole).norm() < 1e-5 * whole.norm()


def test_models_that_change_their_logits_after_the_output_layer_are_served(tiny_model: Path, rows, monkeypatch) -> None:
    trainer = learner(tiny_model)
    expected, _ = trainer.logprobs(rows)
    monkeypatch.setattr(trainer.policy, "_split", False)
    found, _ = trainer.logprobs(rows)
    torch.testing.assert_close(found, expected)


def test_settings_that_cannot_work_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"objective = 'decoupled_pp'.*did you mean 'decoupled_ppo'"):
        learner(tiny_model, {"objective": "decoupled_pp"})
    with pytest.raises(ConfigError, match="temperature"):
        learner(tiny_model, temperature=0.0)
    with pytest.raises(ConfigError, match=r"is no model folder: it has no config\.json"):
        learner(tmp_path)


def test_steps_use_the_configured_threads(tiny_model: Path, rows) -> None:
    before = torch.get_num_threads()
    try:
        learner(tiny_model, {"threads": 2}).train_step(rows)
        assert torch.get_num_threads() == 2
        learner(tiny_model, {"threads": 1}).train_step(rows)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_decaying_learning_rate_falls_to_its_last_share_by_the_last_step(tiny_model: Path, rows) -> None:
    trainer = Learner(tiny_model, TrainerSection(lr=1e-3, lr_decay="linear", warmup_steps=2), total_steps=4)
    assert [trainer.train_step(rows).lr for _ in range(4)] == pytest.approx([0.5e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    with pytest.raises(ConfigError, match="lr_decay"):
        Learner(tiny_model, TrainerSection(lr_decay="linear"))
