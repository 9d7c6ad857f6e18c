"""Log-probs of the proximal policy without a forward pass. K = sampled tokens."""

from __future__ import annotations

from typing import Literal

import torch


def approximate_proximal(
    logprob_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    version_K: torch.Tensor,
    current_version: int,
    *,
    kind: Literal["loglinear", "linear", "rollout"] = "loglinear",
) -> torch.Tensor:
    """Return the proximal policy's log-probs, interpolated by version between sampler and current weights (AReaL).

    The proximal policy is one version behind: α = (v_θ − 1 − v)/(v_θ − v), held within [0, 1]. "loglinear": behaviour +
    α·(logprob − behaviour); "linear": the same between probabilities; "rollout": the behaviour policy itself.

    Args:
        logprob_K: Under the current weights; no gradient is kept.
        behaviour_K: Under the sampler.
        version_K: Version that sampled each token; a negative one is no sampled token and keeps `behaviour_K`.
        current_version: v_θ.
        kind: How to interpolate.
    """
    logprob_K = logprob_K.detach()
    if kind == "rollout":
        return behaviour_K.clone()
    distance_K = (current_version - version_K).to(behaviour_K)
    known_K = (distance_K > 0) & (version_K >= 0)
    alpha_K = torch.where(known_K, (distance_K - 1) / distance_K, 0.0).clamp(0, 1)
    if kind == "loglinear":
        return behaviour_K + alpha_K * (logprob_K - behaviour_K)
    return ((1 - alpha_K) * behaviour_K.exp() + alpha_K * logprob_K.exp() + 1e-10).log()
