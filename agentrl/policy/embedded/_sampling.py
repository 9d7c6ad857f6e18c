"""Sampling of one token per row, independent of what else is in the batch.

The uniform number of a token is a hash of (seed of the request, absolute position of the token): no generator state
exists that batching, interruption or order of arrival could disturb. Axis legend: B = rows, V = vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

UInt64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class RowSampling:
    """How each row is sampled; tensors on the model's device.

    Attributes:
        temperature_B: Temperatures, 1 where a row is greedy.
        greedy_B: Rows that take the most probable token; None where no row does.
        top_k_B: Tokens to keep, 0 = all; None where no row filters at all.
        top_p_B: Mass to keep; None together with `top_k_B`.
        plain: Every temperature is 1: logits need no scaling.
    """

    temperature_B: torch.Tensor
    greedy_B: torch.Tensor | None
    top_k_B: torch.Tensor | None
    top_p_B: torch.Tensor | None
    plain: bool


def row_sampling(
    temperature_B: npt.NDArray[np.float32],
    top_k_B: npt.NDArray[np.int64],
    top_p_B: npt.NDArray[np.float32],
    device: torch.device,
) -> RowSampling:
    """Prepare the sampling parameters of a batch; temperature 0 means greedy, which ignores top-k and top-p."""
    greedy_B = temperature_B == 0
    filtered_B = ~greedy_B & ((top_k_B > 0) | (top_p_B < 1))
    scale_B = np.where(greedy_B, np.float32(1), temperature_B)
    any_filtered = bool(filtered_B.any())
    return RowSampling(
        temperature_B=torch.from_numpy(scale_B).to(device),
        greedy_B=torch.from_numpy(greedy_B).to(device) if greedy_B.any() else None,
        top_k_B=torch.from_numpy(np.where(greedy_B, 0, top_k_B)).to(device) if any_filtered else None,
        top_p_B=torch.from_numpy(np.where(greedy_B, np.float32(1), top_p_B)).to(device) if any_filtered else None,
        plain=bool((scale_B == 1).all()),
    )


def mix(values: UInt64) -> UInt64:
    """Scramble 64-bit numbers one to one (the finaliser of splitmix64, Steele et al. 2014)."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def seed_key(seed: int) -> int:
    """Return the scrambled 64-bit key of a request's seed."""
    return int(mix(np.array([seed & _MASK_64], dtype=np.uint64) + _GOLDEN)[0])


def uniforms(key_B: UInt64, position_B: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return one number in [0, 1) per row, a function of (seed key, absolute position) alone."""
    bits_B = mix(key_B + (position_B.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (bits_B >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def filter_logits(logits_BV: torch.Tensor, top_k_B: torch.Tensor, top_p_B: torch.Tensor) -> torch.Tensor:
    """Return logits with everything outside top-k, then outside top-p of what is left, set to -inf."""
    sorted_BV, order_BV = torch.sort(logits_BV, dim=-1, descending=True, stable=True)
    rank_V = torch.arange(logits_BV.shape[-1], device=logits_BV.device)
    drop_BV = (rank_V[None] >= top_k_B[:, None]) & (top_k_B[:, None] > 0)
    probability_BV = torch.softmax(sorted_BV.masked_fill(drop_BV, -torch.inf), dim=-1)
    mass_before_BV = probability_BV.cumsum(-1) - probability_BV
    # A row that keeps all mass keeps every token, also those that rounding puts beyond a sum of 1.
    drop_BV |= (mass_before_BV >= top_p_B[:, None]) & (top_p_B[:, None] < 1)
    drop_BV[:, 0] = False
    return logits_BV.masked_fill(torch.zeros_like(drop_BV).scatter_(1, order_BV, drop_BV), -torch.inf)


def sample(
    logits_BV: torch.Tensor, rows: RowSampling, uniform_B: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw one token per row by inverse CDF.

    Args:
        logits_BV: float32 logits.
        rows: Sampling parameters of the rows.
        uniform_B: Numbers in [0, 1).

    Returns:
        tokens_B (int64), their log-probs_B and the entropies_B (nats) of the distribution they were drawn from.
    """
    if not rows.plain:
        logits_BV = logits_BV / rows.temperature_B[:, None]
    if rows.top_k_B is not None and rows.top_p_B is not None:
        logits_BV = filter_logits(logits_BV, rows.top_k_B, rows.top_p_B)
    logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
    probability_BV = logprobs_BV.exp()
    cdf_BV = probability_BV.cumsum(-1)
    total_B1 = cdf_BV[:, -1:]
    # Strictly below the total, so that rounding never selects a token of probability zero behind the last one.
    target_B1 = torch.minimum(uniform_B[:, None] * total_B1, torch.nextafter(total_B1, torch.zeros_like(total_B1)))
    tokens_B1 = torch.searchsorted(cdf_BV, target_B1, right=True).clamp_(max=logits_BV.shape[-1] - 1)
    if rows.greedy_B is not None:
        tokens_B1 = torch.where(rows.greedy_B[:, None], logits_BV.argmax(-1, keepdim=True), tokens_B1)
    if rows.top_k_B is not None:
        terms_BV = probability_BV * logprobs_BV.masked_fill(probability_BV == 0, 0.0)
    else:
        terms_BV = probability_BV * logprobs_BV
    return tokens_B1[:, 0], logprobs_BV.gather(1, tokens_B1)[:, 0], -terms_BV.sum(-1)
