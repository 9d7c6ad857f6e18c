"""Golden figures of TRL's losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.objectives import (
    Aggregation,
    Denominators,
    TokenLoss,
    cispo,
    corrected_kl,
    gspo,
    high_entropy,
    kl,
    luspo,
    off_policy_sequences,
    ppo_clip,
    sapo,
    vespo,
)
from agentrl_trainers.objectives._sequences import sequence_max, sequence_mean
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded, mean

AGGREGATION: dict[str, Aggregation] = {
    "grpo": "seq-mean-token-mean",
    "gspo": "seq-mean-token-mean",
    "sapo": "seq-mean-token-mean",
    "dr_grpo": "seq-mean-token-sum-norm",
    "luspo": "seq-mean-token-sum",
}
"""How a loss is averaged; the others over all tokens of the global batch."""
CLIP_HIGH = {"dapo": 0.28}
"""ε_high where a key does not name it; otherwise .2."""


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case; keys are a loss and options, `grpo|beta=0.04|bias_correction_kl`."""
    return {key: recompute_key(inputs, key) for key in wanted}


def recompute_key(inputs: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Recompute one output."""
    rows = Padded(torch.tensor(inputs["completion_mask"]) * torch.tensor(inputs["tool_mask"]))
    name, *fields = key.split("|")
    name = name.split("(")[0]
    asked = {field.split("=")[0]: field.split("=")[-1] for field in fields}
    logprob_K = rows.flat(inputs["log_prob"]).requires_grad_()
    old_K, advantage_K = rows.flat(inputs["old_log_prob"]), rows.flat(inputs["advantages"])
    entropy_K = rows.flat(inputs["entropies"])
    result = token_loss(name, fields, asked, logprob_K, old_K, advantage_K, rows, inputs)
    loss_K = result.loss_K
    if "off_policy_mask" in asked:
        loss_K = loss_K * off_policy_sequences(
            logprob_K,
            rows.flat(inputs["sampling_log_prob"]),
            advantage_K,
            rows.sequence_K,
            threshold=float(asked["off_policy_mask"]),
        )
    if "top_entropy_quantile" in asked:
        loss_K = loss_K * high_entropy(entropy_K, share=float(asked["top_entropy_quantile"]))
    if "tis" in asked:
        loss_K = loss_K * rows.flat(inputs["importance_sampling_ratio"])
    metrics = {"entropy": mean(entropy_K)} | clipping(name, result, advantage_K, rows)
    if "beta" in asked:
        reference_K = rows.flat(inputs["ref_log_prob"])
        if "bias_correction_kl" in asked:
            divergence_K = corrected_kl(logprob_K, reference_K, old_K)
        else:
            divergence_K = kl(logprob_K, reference_K, "k3", ceiling=None)
        loss_K = loss_K + float(asked["beta"]) * divergence_K
        metrics["kl"] = mean(divergence_K.detach())
    # The reference's sequence means are over all rows, those without a valid token included.
    counts = Denominators(
        tokens=rows.denominators.tokens if name == "bnpo" else int(inputs["num_items_in_batch"]),
        sequences=len(rows.mask_BL),
        length=float(asked.get("max_len", inputs["max_completion_length"])),
    )
    loss = (rows.weights(AGGREGATION.get(name, "token-mean"), counts) * loss_K).sum()
    (grad_K,) = torch.autograd.grad(loss, logprob_K)
    return {"loss": loss.item(), "grad_log_prob": rows.padded(grad_K), "metrics": metrics}


def token_loss(
    name: str,
    fields: list[str],
    asked: Mapping[str, str],
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    rows: Padded,
    inputs: Mapping[str, Any],
) -> TokenLoss:
    """Return the losses of a key, before masks and the KL term."""
    given = (logprob_K, old_K, advantage_K)
    figures = fields[0] if fields and fields[0][0].isdigit() else ""
    if name == "cispo":
        return cispo(*given, cap=float(asked["eps_high"]))
    if name == "sapo":
        positive, negative = (float(figure) for figure in figures.split("_"))
        return sapo(*given, temperature_positive=positive, temperature_negative=negative)
    if name == "vespo":
        power_good, rate_good, power_bad, rate_bad = (float(figure) for figure in figures.split(","))
        return vespo(
            *given,
            sequence_K=rows.sequence_K,
            power_positive=power_good,
            rate_positive=rate_good,
            power_negative=power_bad,
            rate_negative=rate_bad,
            log_correction_K=row_corrections(rows, inputs["importance_sampling_ratio"]),
        )
    bounds = [float(figure) for figure in figures.split("_")] if figures else [0.2, CLIP_HIGH.get(name, 0.2)]
    if name in ("gspo", "luspo"):
        function = luspo if name == "luspo" else gspo
        return function(*given, sequence_K=rows.sequence_K, clip_low=bounds[0], clip_high=bounds[-1])
    cap = float(asked["delta"]) if "delta" in asked else None
    return ppo_clip(*given, clip_low=bounds[0], clip_high=bounds[-1], dual_clip=None, ratio_cap=cap)


def row_corrections(rows: Padded, ratio_BL: Any) -> torch.Tensor:
    """Return corrections [K] that add up, row by row, to those of *all* positions, which is what the reference adds."""
    log_BL = torch.tensor(ratio_BL, dtype=torch.float64).log()
    outside_B = (log_BL * ~rows.mask_BL).sum(-1)
    shared_B = outside_B / rows.mask_BL.sum(-1).clamp(min=1)
    return log_BL[rows.mask_BL] + shared_B[rows.sequence_K]


def clipping(name: str, result: TokenLoss, advantage_K: torch.Tensor, rows: Padded) -> dict[str, float]:
    """Return what the reference reports of clipping: over tokens, or over rows where the ratio is the row's."""
    if name == "sapo":
        return {}
    if name == "vespo":
        return {"vespo/phi_seq_mean": mean(sequence_max(result.importance_K, rows.sequence_K))}
    high_K = (result.clipped_K & (advantage_K > 0)).double()
    low_K = (result.clipped_K & (advantage_K < 0)).double()
    if name == "cispo":
        return {"cispo_clip_ratio": mean(high_K)}
    low_S, high_S = sequence_mean(low_K, rows.sequence_K), sequence_mean(high_K, rows.sequence_K)
    by_row = name in ("gspo", "luspo")
    low, high = (mean(low_S), mean(high_S)) if by_row else (mean(low_K), mean(high_K))
    return {
        "clip_ratio/low_mean": low,
        "clip_ratio/high_mean": high,
        "clip_ratio/region_mean": low + high,
        "clip_ratio/low_min": float(low_S.min()),
        "clip_ratio/high_max": float(high_S.max()),
    }


FAMILY = Family("trl_losses", recompute)
