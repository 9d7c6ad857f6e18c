"""Golden figures of KL estimators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch

from agentrl_trainers.objectives import KLKind, kl
from agentrl_trainers.verify._family import Family


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    reference = torch.tensor(inputs["ref_logprob"], dtype=torch.float64)
    found = {}
    for key in wanted:
        logprob = torch.tensor(inputs["logprob"], dtype=torch.float64).requires_grad_()
        value = kl(logprob, reference, cast(KLKind, key))
        (grad,) = torch.autograd.grad(value.sum(), logprob)
        found[key] = {"value": value.detach(), "grad_logprob": grad}
    return found


FAMILY = Family("verl_kl_estimators", recompute)
