"""Golden figures of AEPO's loss: the entropy-balanced advantage under PPO's clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.credit import CreditBatch
from agentrl_trainers.credit.modulators import entropy_balance
from agentrl_trainers.objectives import Denominators, aggregation_weights, ppo_clip
from agentrl_trainers.verify._family import Family


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    mask_BL = torch.tensor(inputs["response_mask"], dtype=torch.bool)
    row_K = mask_BL.nonzero()[:, 0]

    def flat(name: str) -> torch.Tensor:
        return torch.tensor(inputs[name], dtype=torch.float64)[mask_BL]

    rows = torch.arange(len(mask_BL))
    blank = torch.zeros(len(mask_BL), dtype=torch.float64)
    flags = torch.ones_like(rows, dtype=torch.bool)
    batch = CreditBatch(
        rows, blank, rows, 0 * rows, blank, 0 * rows - 1, flags, row_K, flags, entropy_K=flat("entropy")
    )
    advantage_K = entropy_balance(batch, flat("advantages"), entropy_weight=float(inputs["entropy_adv_coef"]))
    logprob_K = flat("log_prob").requires_grad_()
    old_K = flat("old_log_prob")
    losses = ppo_clip(
        logprob_K,
        old_K,
        advantage_K,
        clip_low=float(inputs["clip_low"]),
        clip_high=float(inputs["clip_high"]),
        dual_clip=float(inputs["clip_c"]),
    )
    weight_K = aggregation_weights(inputs["agg"], row_K, Denominators.of(row_K), dtype=torch.float64)
    loss = (losses.loss_K * weight_K).sum()
    (gradient_K,) = torch.autograd.grad(loss, logprob_K)
    gradient_BL = torch.zeros(mask_BL.shape, dtype=torch.float64)
    gradient_BL[mask_BL] = gradient_K
    found = {
        "loss": loss,
        "clipfrac": losses.clipped_K.double().mean(),
        "clipfrac_lower": losses.dual_clipped_K.double().mean(),
        "ppo_kl": (old_K - logprob_K).mean(),
        "grad_log_prob": gradient_BL,
    }
    return {key: value for key, value in found.items() if key in wanted}


FAMILY = Family(
    "aepo_loss",
    recompute,
    {
        "grad_log_prob": "the port inverts the condition of the rescaled gradient: clipped tokens of high entropy lose "
        "theirs, those of low entropy keep it (algorithms.md, section 9, AEPO)"
    },
)
