"""Golden figures of prime-rl's losses; rows are ragged, figures of metrics are one per row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.objectives import prime_rl, reference_distillation, region_metrics
from agentrl_trainers.objectives._sequences import sequence_mean
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded

IPO_BOUND = 0.1
"""Bound of "ipo" in the reference's configuration."""
METRICS = {
    "default_dppo_kl": None,
    "ipo": ("masked_mismatch_kl", "unmasked_mismatch_kl", "is_masked"),
    "ref_kl_opd": ("masked_mismatch_kl", "unmasked_mismatch_kl", "is_masked"),
}
"""Which of the figures the reference reports, by loss; None = all."""


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case; keys are a loss and its options, `mask0.05|kl_tau0.1|adv_tau0.5`."""
    lengths = [len(row) for row in inputs["loss_mask"]]

    def square(name: str) -> torch.Tensor:
        rows = [torch.tensor(row, dtype=torch.float64) for row in inputs[name]]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    rows = Padded(square("loss_mask"))
    engine_K, advantage_K = rows.flat(square("inference_logprobs")), rows.flat(square("advantages"))
    reference_K = rows.flat(square("ref_logprobs"))
    found: dict[str, Any] = {}
    for key in wanted:
        name, *fields = key.split("|")
        logprob_K = rows.flat(square("trainer_logprobs")).requires_grad_()
        if name == "ref_kl_opd":
            result = reference_distillation(logprob_K, engine_K, reference_K)
        else:
            result = prime_rl(logprob_K, engine_K, advantage_K, **options(name, fields))
        loss = result.loss_K.sum() / inputs["scale"]
        (grad_K,) = torch.autograd.grad(loss, logprob_K)
        figures = region_metrics(result, logprob_K.detach(), engine_K, advantage_K, rows.sequence_K)
        found[key] = {
            "loss": loss.item(),
            "grads": [row[:length].tolist() for row, length in zip(rows.padded(grad_K), lengths, strict=True)],
            "metrics": reported(name, figures, sequence_mean(reference_K - logprob_K.detach(), rows.sequence_K)),
        }
    return found


def options(name: str, fields: list[str]) -> dict[str, Any]:
    """Return what a key says of `prime_rl`."""
    asked: dict[str, Any] = {}
    if name == "ipo":
        asked = {"region": "absolute", "low": IPO_BOUND, "high": IPO_BOUND}
    for field in fields:
        if field.startswith("mask"):
            asked["low"] = asked["high"] = float(field.removeprefix("mask"))
        elif field.startswith("kl_tau"):
            asked["kl_coefficient"] = float(field.removeprefix("kl_tau"))
        elif field.startswith("adv_tau"):
            asked["advantage_scale"] = float(field.removeprefix("adv_tau"))
    return asked


def reported(name: str, figures: dict[str, torch.Tensor], reference_N: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the figures under the reference's names."""
    chosen = METRICS.get(name)
    if chosen is None:
        return figures
    if name == "ref_kl_opd":
        return {f"ref_kl/{figure}": figures[figure] for figure in chosen} | {"ref_kl": reference_N}
    return {figure: figures[figure] for figure in chosen}


FAMILY = Family("prime_rl_loss", recompute)
