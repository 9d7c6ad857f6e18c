"""M2PO's mask: drop the tokens farthest from the sampler until the rest is near enough. K = sampled tokens."""

from __future__ import annotations

import torch


def m2po_mask(proximal_K: torch.Tensor, behaviour_K: torch.Tensor, *, threshold: float = 0.04) -> torch.Tensor:
    """Return which tokens stay: the largest (behaviour − proximal)² go until the mean of the rest is < `threshold`.

    Zheng et al. 2025 (arXiv 2510.01161), as AReaL has it; .04 is reported to be the paper's, AReaL's default is off.
    One token always stays. The mean is over the whole batch, so give all tokens at once.

    Args:
        proximal_K: Log-probs at the start of the update.
        behaviour_K: Log-probs of the sampler.
        threshold: Bound of the second moment of what is kept.
    """
    moment_K = (behaviour_K - proximal_K.detach()).square()
    ascending, order = moment_K.sort()
    counts = torch.arange(1, len(ascending) + 1, device=moment_K.device)
    kept = int((ascending.cumsum(0) / counts < threshold).sum())
    keep_K = torch.zeros_like(moment_K, dtype=torch.bool)
    keep_K[order[: max(kept, 1)]] = True
    return keep_K
