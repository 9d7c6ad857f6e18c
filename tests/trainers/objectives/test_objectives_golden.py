"""Objectives, divergences and aggregations against numbers of their reference implementations, gradients included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from agentrl.errors import ConfigError
from agentrl_trainers.objectives import (
    Denominators,
    TokenLoss,
    aggregation_weights,
    decoupled_ppo,
    importance_weights,
    kl,
    ppo_clip,
)

SMALL = 1e-8
"""The reference adds 1e-8 to the token count of a sequence; ours is exact."""

Golden = Callable[[str], list[dict[str, Any]]]


def tensor(values: Any, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def sequences(mask_BL: torch.Tensor) -> torch.Tensor:
    """Return the row of each unmasked token."""
    return torch.arange(len(mask_BL))[:, None].expand(mask_BL.shape)[mask_BL]


def check(loss: torch.Tensor, logprob_BL: torch.Tensor, expected_loss: float, expected_grad: Any, atol: float) -> None:
    (grad_BL,) = torch.autograd.grad(loss, logprob_BL)
    assert loss.item() == pytest.approx(expected_loss, abs=atol, rel=atol)
    torch.testing.assert_close(grad_BL, tensor(expected_grad), atol=atol, rtol=atol)


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"])
def test_ppo_clip(golden: Golden, case: int, mode: str) -> None:
    found = golden("verl_policy_losses")[case]
    inputs, expected = found["inputs"], found["outputs"][f"ppo_clip0.2_dual3|{mode}"]
    mask_BL = tensor(inputs["response_mask"]).bool()
    logprob_BL = tensor(inputs["log_prob"]).requires_grad_()
    sequence_K = sequences(mask_BL)
    result = ppo_clip(
        logprob_BL[mask_BL], tensor(inputs["old_log_prob"])[mask_BL], tensor(inputs["advantages"])[mask_BL]
    )
    denominators = Denominators.of(sequence_K, length=mask_BL.shape[1])
    weight_K = aggregation_weights(mode, sequence_K, denominators, dtype=torch.float64)
    check((result.loss_K * weight_K).sum(), logprob_BL, expected["loss"], expected["grad_log_prob"], SMALL)
    clip_fraction = result.clipped_K.double().mean().item()
    assert clip_fraction == pytest.approx(expected["metrics"]["actor/pg_clipfrac"], abs=1e-6)
    dual_fraction = result.dual_clipped_K.double().mean().item()
    assert dual_fraction == pytest.approx(expected["metrics"]["actor/pg_clipfrac_lower"], abs=1e-6)


@pytest.mark.parametrize("case", range(3))
def test_ppo_clip_higher(golden: Golden, case: int) -> None:
    found = golden("verl_policy_losses")[case]
    inputs, expected = found["inputs"], found["outputs"]["dapo_cliphigher_0.2_0.28|token-mean"]
    mask_BL = tensor(inputs["response_mask"]).bool()
    logprob_BL = tensor(inputs["log_prob"]).requires_grad_()
    old_K, advantage_K = tensor(inputs["old_log_prob"])[mask_BL], tensor(inputs["advantages"])[mask_BL]
    result = ppo_clip(logprob_BL[mask_BL], old_K, advantage_K, clip_low=0.2, clip_high=0.28, dual_clip=10.0)
    check(result.loss_K.mean(), logprob_BL, expected["loss"], expected["grad_log_prob"], 1e-9)


def decoupled_options(key: str) -> dict[str, Any]:
    """Read the options out of a golden key such as `decoupled|eps0.2|level=token|action=mask|…`."""
    fields = dict(part.split("=") for part in key.split("|")[2:])
    return {
        "importance_level": fields["level"],
        "importance_action": fields["action"],
        "importance_metric": fields["metric"].removeprefix("kl_"),
        "importance_cap": None if fields["upper"] == "None" else float(fields["upper"]),
        "importance_floor": None if fields["lower"] == "None" else float(fields["lower"]),
    }


@pytest.mark.parametrize("case", range(2))
def test_decoupled_ppo_with_every_filter(golden: Golden, case: int) -> None:
    found = golden("areal_losses")[case]
    inputs = found["inputs"]
    mask_BL = tensor(inputs["loss_mask"]).bool()
    proximal_K = tensor(inputs["proximal_logprobs"])[mask_BL]
    behaviour_K = tensor(inputs["old_logprobs"])[mask_BL]
    advantage_K = tensor(inputs["advantages"])[mask_BL]
    seen = 0
    for key, expected in found["outputs"].items():
        if not key.startswith("decoupled|"):
            continue
        seen += 1
        options = decoupled_options(key)
        logprob_BL = tensor(inputs["logprobs"]).requires_grad_()
        arguments = (logprob_BL[mask_BL], proximal_K, behaviour_K, advantage_K)
        if "reference_raises" in expected:
            with pytest.raises(ConfigError, match="clamp"):
                decoupled_ppo(*arguments, sequence_K=sequences(mask_BL), **options)
            continue
        result: TokenLoss = decoupled_ppo(*arguments, sequence_K=sequences(mask_BL), **options)
        # The mean over *all* tokens: filtered ones stay in the denominator.
        check(result.loss_K.mean(), logprob_BL, expected["loss"], expected["grad_logprobs"], 1e-6)
        weight_K = tensor(expected["behave_imp_weight"])[mask_BL]
        torch.testing.assert_close(result.importance_K.double(), weight_K, atol=1e-6, rtol=1e-6)
        assert result.filtered_K.double().mean().item() == pytest.approx(expected["filtered_fraction"], abs=1e-9)
        assert result.clipped_K.tolist() == torch.tensor(expected["clip_mask"])[mask_BL].tolist(), key
    assert seen == 16


@pytest.mark.parametrize("case", range(2))
def test_areal_ppo_with_dual_clip(golden: Golden, case: int) -> None:
    found = golden("areal_losses")[case]
    inputs, expected = found["inputs"], found["outputs"]["ppo|eps0.2_0.28|c3"]
    mask_BL = tensor(inputs["loss_mask"]).bool()
    logprob_BL = tensor(inputs["logprobs"]).requires_grad_()
    old_K, advantage_K = tensor(inputs["proximal_logprobs"])[mask_BL], tensor(inputs["advantages"])[mask_BL]
    result = ppo_clip(logprob_BL[mask_BL], old_K, advantage_K, clip_high=0.28)
    check(result.loss_K.mean(), logprob_BL, expected["loss"], expected["grad_logprobs"], 1e-9)
    assert result.dual_clipped_K.tolist() == torch.tensor(expected["dual_clip_mask"])[mask_BL].tolist()


@pytest.mark.parametrize("case", range(2))
@pytest.mark.parametrize("kind", ["k1", "k2", "k3", "abs", "k1+", "k3+"])
def test_kl_estimators(golden: Golden, case: int, kind: Any) -> None:
    found = golden("verl_kl_estimators")[case]
    logprob = tensor(found["inputs"]["logprob"]).requires_grad_()
    value = kl(logprob, tensor(found["inputs"]["ref_logprob"]), kind)
    expected = found["outputs"][kind]
    torch.testing.assert_close(value.detach(), tensor(expected["value"]), atol=1e-9, rtol=1e-9)
    (grad,) = torch.autograd.grad(value.sum(), logprob)
    torch.testing.assert_close(grad, tensor(expected["grad_logprob"]), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("case", range(2))
def test_aggregations_with_global_denominators(golden: Golden, case: int) -> None:
    found = golden("verl_agg_loss")[case]
    mask_BL = tensor(found["inputs"]["loss_mask"]).bool()
    loss_K = tensor(found["inputs"]["loss_mat"])[mask_BL]
    sequence_K = sequences(mask_BL)
    own = Denominators.of(sequence_K, length=mask_BL.shape[1])

    def aggregate(mode: Any, denominators: Denominators) -> float:
        return (loss_K * aggregation_weights(mode, sequence_K, denominators, dtype=torch.float64)).sum().item()

    expected = found["outputs"]
    for mode in ("token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"):
        assert aggregate(mode, own) == pytest.approx(expected[mode], abs=SMALL)
    scaled = Denominators(own.tokens, own.sequences, length=10)
    assert aggregate("seq-mean-token-sum-norm", scaled) == pytest.approx(
        expected["seq-mean-token-sum-norm|scale=10"], abs=1e-12
    )
    # The reference multiplies by the number of ranks, because its ranks average their gradients; ours add up.
    two_ranks = aggregate("token-mean", Denominators(40, own.sequences)) * 2
    assert two_ranks == pytest.approx(expected["token-mean|global_tokens=40,dp=2"], abs=SMALL)
    two_ranks = aggregate("seq-mean-token-mean", Denominators(own.tokens, 16)) * 2
    assert two_ranks == pytest.approx(expected["seq-mean-token-mean|global_bs=16,dp=2"], abs=SMALL)


def test_a_sequence_without_tokens_does_not_count() -> None:
    sequence_K = torch.tensor([0, 0, 2])
    assert Denominators.of(sequence_K) == Denominators(tokens=3, sequences=2, length=2.0)


def test_the_example_of_the_decoupled_objective() -> None:
    result = decoupled_ppo(tensor([-1.5]), tensor([-1.8]), tensor([-2.0]), tensor([1.0]))
    assert result.loss_K.item() == pytest.approx(-1.4657, abs=1e-4)
    assert result.importance_K.item() == pytest.approx(1.2214, abs=1e-4)


def test_a_token_far_off_gives_finite_numbers() -> None:
    logprob_K = tensor([-1.0, -900.0]).requires_grad_()
    result = decoupled_ppo(logprob_K, tensor([-900.0, -1.0]), tensor([-1.0, -900.0]), tensor([-1.0, 1.0]))
    (grad_K,) = torch.autograd.grad(result.loss_K.sum(), logprob_K)
    assert result.loss_K.isfinite().all() and grad_K.isfinite().all()


def test_weights_by_sequence_need_to_know_the_sequences() -> None:
    with pytest.raises(ValueError, match="sequence_K"):
        importance_weights(tensor([-1.0]), tensor([-1.0]), level="sequence")
