"""Objectives that need statistics of the whole batch, before micro-batches see parts of it.

The learner computes them once per update, from log-probs without gradient. Axis legend: K = tokens with a forward pass,
N = trajectories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from agentrl_trainers.objectives._bapo import bapo_bounds
from agentrl_trainers.objectives._covariance import clip_cov_selection, kl_cov_selection
from agentrl_trainers.objectives._gbpo import median_relative
from agentrl_trainers.objectives._m2po import m2po_mask
from agentrl_trainers.objectives._regression import Residual, gvpo_residual, rebel_residual
from agentrl_trainers.objectives._sequences import sequence_mean, sequence_sum

Reduce = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class WholeBatch:
    """What a preparation sees: every token of the batch, without gradient.

    Attributes:
        logprob_K: Under the current weights.
        old_K: What the objective takes its ratio against.
        advantage_K: From credit.
        trajectory_K: Trajectory of each token, int64, from 0; gaps are allowed.
        group_K: Group of each token's trajectory, int64, from 0; gaps are allowed.
        generator: For random choices, on the CPU, seeded from run and step.
        reduce: Sums over ranks that train together; None on one process.
    """

    logprob_K: torch.Tensor
    old_K: torch.Tensor
    advantage_K: torch.Tensor
    trajectory_K: torch.Tensor
    group_K: torch.Tensor
    generator: torch.Generator
    reduce: Reduce | None = None


@dataclass(frozen=True)
class Preparation:
    """A look at the whole batch before an update.

    Attributes:
        function: `f(batch, *, options) -> arguments of the objective`; a value whose name ends in `_K` is per token.
        groups: Whether whole groups are needed, so that the batch must be that of the step, not of a minibatch.
        forward: Whether it looks at current log-probs, which costs a forward pass more.
    """

    function: Callable[..., dict[str, Any]]
    groups: bool = False
    forward: bool = True


def prepare_bapo(
    batch: WholeBatch,
    *,
    target: float = 0.5,
    lower_start: float = 0.6,
    lower_max: float = 0.9,
    lower_step: float = 0.05,
    upper_start: float = 1.2,
    upper_max: float = 3.0,
    upper_step: float = 0.05,
) -> dict[str, Any]:
    """Search BAPO's bounds; options as `bapo_bounds`."""
    bounds = bapo_bounds(
        batch.logprob_K,
        batch.old_K,
        batch.advantage_K,
        target=target,
        lower_start=lower_start,
        lower_max=lower_max,
        lower_step=lower_step,
        upper_start=upper_start,
        upper_max=upper_max,
        upper_step=upper_step,
        reduce=batch.reduce,
    )
    return {"bounds": bounds}


def prepare_clip_cov(
    batch: WholeBatch,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    fraction: float = 2e-4,
    low: float = 1.0,
    high: float = 5.0,
) -> dict[str, Any]:
    """Choose Clip-Cov's tokens; options as `clip_cov_selection`."""
    selected_K = clip_cov_selection(
        batch.logprob_K,
        batch.old_K,
        batch.advantage_K,
        clip_low=clip_low,
        clip_high=clip_high,
        fraction=fraction,
        low=low,
        high=high,
        generator=batch.generator,
        reduce=batch.reduce,
    )
    return {"selected_K": selected_K}


def prepare_kl_cov(batch: WholeBatch, *, fraction: float = 2e-4) -> dict[str, Any]:
    """Choose KL-Cov's tokens."""
    selected_K = kl_cov_selection(batch.logprob_K, batch.advantage_K, fraction=fraction, reduce=batch.reduce)
    return {"selected_K": selected_K}


def prepare_m2po(batch: WholeBatch, *, threshold: float = 0.04) -> dict[str, Any]:
    """Choose the tokens that M2PO keeps."""
    return {"keep_K": m2po_mask(batch.logprob_K, batch.old_K, threshold=threshold)}


def prepare_gbpo(batch: WholeBatch) -> dict[str, Any]:
    """Place each trajectory relative to its group's median."""
    trajectory_K, group_N = _numbers(batch)
    advantage_N = sequence_mean(batch.advantage_K, trajectory_K)
    return {"target_K": median_relative(advantage_N, group_N)[trajectory_K]}


def prepare_gvpo(batch: WholeBatch, *, beta: float = 0.1) -> dict[str, Any]:
    """Compute GVPO's residuals; a trajectory's advantage is the mean of its tokens'."""
    trajectory_K, group_N = _numbers(batch)
    gap_N = sequence_sum(batch.logprob_K - batch.old_K, trajectory_K)
    centred_N = sequence_mean(batch.advantage_K, trajectory_K)
    return per_token(gvpo_residual(gap_N, centred_N, group_N, beta=beta), trajectory_K)


def prepare_rebel(batch: WholeBatch, *, eta: float = 1.0) -> dict[str, Any]:
    """Compute REBEL's residuals; a trajectory's advantage is the mean of its tokens'."""
    trajectory_K, group_N = _numbers(batch)
    gap_N = sequence_sum(batch.logprob_K - batch.old_K, trajectory_K)
    centred_N = sequence_mean(batch.advantage_K, trajectory_K)
    return per_token(rebel_residual(gap_N, centred_N, group_N, eta=eta), trajectory_K)


def per_token(residual: Residual, trajectory_K: torch.Tensor) -> dict[str, Any]:
    """Return a residual as `regression` takes it: each trajectory's loss spread over its tokens, and its slope."""
    count_N = torch.bincount(trajectory_K).clamp(min=1)
    return {"loss_K": (residual.loss_N / count_N)[trajectory_K], "slope_K": residual.slope_N[trajectory_K]}


def _numbers(batch: WholeBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return trajectories numbered from 0, for each token, and the group of each, numbered from 0, too."""
    trajectory_K, group_K = _compact(batch.trajectory_K), _compact(batch.group_K)
    count = int(trajectory_K.max()) + 1 if trajectory_K.numel() else 0
    return trajectory_K, group_K.new_zeros(count).scatter_(0, trajectory_K, group_K)


def _compact(names_K: torch.Tensor) -> torch.Tensor:
    """Return the same partition with numbers from 0, without gaps."""
    used = torch.bincount(names_K) > 0
    return (used.cumsum(0) - 1)[names_K]
