"""Small differences that golden figures of few tokens do not show: which way an estimate points, and ties."""

from __future__ import annotations

import math

import pytest
import torch

from agentrl_trainers.objectives import importance_weights, value_loss


def test_the_k3_filter_drops_tokens_that_became_unlikely_first() -> None:
    """k3 = exp(−d) − 1 + d: a fall of one nat in log-prob weighs .72, a rise of one nat .37."""
    behaviour_K = torch.tensor([-1.0, -2.0])
    proximal_K = torch.tensor([-2.0, -1.0])
    kept = importance_weights(proximal_K, behaviour_K, cap=0.5, metric="k3")
    assert kept.filtered_K.tolist() == [True, False]
    assert kept.weight_K[1].item() == pytest.approx(math.e)


def test_a_value_within_the_range_is_not_counted_as_clipped() -> None:
    """old + (value − old) is not value for most floats; such a rounding error is no clipping."""
    generator = torch.Generator().manual_seed(0)
    old_K, value_K = 0.1 * torch.rand(2, 2000, generator=generator, dtype=torch.float64)
    return_K = torch.randn(2000, generator=generator, dtype=torch.float64)
    assert not value_loss(value_K, old_K, return_K, clip=0.2).clipped_K.any()
    assert value_loss(value_K, old_K, return_K, clip=0.2, clipped="change").clipped_K.any()
