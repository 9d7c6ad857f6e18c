"""Overlong reward shaping: a soft penalty before the limit of length is hit."""

from __future__ import annotations

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit.turn_rewards._outcome import add_to_outcome, sampled_tokens


def overlong_penalty(length_N: torch.Tensor, *, max_length: int, buffer: int, factor: float) -> torch.Tensor:
    """Return min(0, −(length − (max_length − buffer))/buffer)·factor, at least −factor, float64 [N].

    DAPO (Yu et al. 2025, arXiv 2503.14476), eq. 13. Example: length 18,432 of 20,480 with a buffer of 4,096 gives −.5.

    Args:
        length_N: Tokens of each response.
        max_length: Length at which the whole penalty is due.
        buffer: Tokens before it over which the penalty grows.
        factor: The whole penalty.

    Raises:
        ConfigError: The buffer is not within (0, max_length].
    """
    if not 0 < buffer <= max_length:
        raise ConfigError(f"overlong buffer = {buffer}: expected within 1 to max_length = {max_length}")
    excess_N = (length_N.double() - (max_length - buffer)) / buffer
    return -excess_N.clamp(0, 1) * factor


def overlong(
    batch: CreditBatch, *, max_length: int = 20480, overlong_buffer: int = 4096, overlong_factor: float = 1.0
) -> CreditBatch:
    """Add the overlong penalty to each trajectory's reward, on its last turn; only sampled tokens count.

    Args:
        batch: Rewards and structure.
        max_length: DAPO's 16,384 + 4,096; set it to the sampled tokens an episode of this run can have.
        overlong_buffer: Tokens before the limit over which the penalty grows.
        overlong_factor: The whole penalty.

    Raises:
        ConfigError: The buffer is not within (0, max_length].
    """
    penalty_N = overlong_penalty(
        sampled_tokens(batch), max_length=max_length, buffer=overlong_buffer, factor=overlong_factor
    )
    return add_to_outcome(batch, penalty_N.to(batch.reward_N.dtype))
