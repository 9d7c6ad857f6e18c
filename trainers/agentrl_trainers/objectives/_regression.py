"""Objectives that regress a trajectory's log-ratio on its reward: GVPO, REBEL, A*-PO. K = tokens, N = trajectories.

Their loss is a function of Σ log-probs over the *whole* trajectory, and of its group. So each is split: `..._residual`
looks at the whole batch once, without gradient, and gives dL/dx and L of each trajectory, x being the sum of its
log-probs; `regression` turns those into losses per token that micro-batches can add up. Aggregate
"seq-mean-token-sum": the sum over a trajectory's tokens is its loss, in value and gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agentrl_trainers.objectives._sequences import sequence_sum
from agentrl_trainers.objectives._token_loss import TokenLoss


@dataclass(frozen=True)
class Residual:
    """A loss per trajectory at the current weights.

    Attributes:
        loss_N: Its value.
        slope_N: Its derivative with respect to the sum of the trajectory's log-probs.
    """

    loss_N: torch.Tensor
    slope_N: torch.Tensor


def gvpo_residual(
    log_ratio_N: torch.Tensor, centred_N: torch.Tensor, group_N: torch.Tensor, *, beta: float = 0.1
) -> Residual:
    """Return ½·((R_θ − mean R_θ) − (r − mean r))²/(n−1) with R_θ = β·Σ(logprob − old) (GVPO, arXiv 2504.19599).

    The mean over the group carries no gradient, as in the authors' code. That loses nothing: the residuals of a group
    add up to 0, so what the mean would add to the gradient of the group's sum is 0. Summed over the batch this is the
    reference's loss; "seq-mean-token-sum" divides it by the number of trajectories.

    Args:
        log_ratio_N: Σ (logprob − old) of each trajectory.
        centred_N: r − mean r: the advantages of credit "dr_grpo".
        group_N: Group of each trajectory, int64 from 0; groups must be whole.
        beta: β.
    """
    count_N = torch.bincount(group_N)[group_N].to(log_ratio_N)
    implied_N = beta * log_ratio_N
    mean_N = sequence_sum(implied_N, group_N)[group_N] / count_N
    error_N = implied_N - mean_N - centred_N
    share_N = (count_N - 1).clamp(min=1)
    return Residual(error_N.square() / (2 * share_N), beta * error_N / share_N)


def rebel_residual(
    log_ratio_N: torch.Tensor, centred_N: torch.Tensor, group_N: torch.Tensor, *, eta: float = 1.0
) -> Residual:
    """Return REBEL's loss: (Δx/η − Δr)², averaged over the pairs of a group (Gao et al. 2024, arXiv 2404.16767).

    x = Σ(logprob − old). With e = x/η − r the pairs' squares add up to n·Σ(e − mean e)², so a trajectory's share of
    the mean over n(n−1)/2 pairs is 2·(e − mean e)²/(n−1), the same form as GVPO's. `eta` has no default in its paper.

    Args:
        log_ratio_N: Σ (logprob − old) of each trajectory.
        centred_N: r − mean r: the advantages of credit "dr_grpo".
        group_N: Group of each trajectory, int64 from 0; groups must be whole.
        eta: η, the step size of the mirror descent it solves.
    """
    half = gvpo_residual(log_ratio_N, centred_N, group_N, beta=1 / eta)
    return Residual(4 * half.loss_N, 4 * half.slope_N)


def optimal_value(reward_PN: torch.Tensor, *, beta: float = 0.5) -> torch.Tensor:
    """Return V* = β·ln mean exp(r/β) of each prompt over N rollouts of the reference policy (A*-PO's first stage)."""
    return beta * (torch.logsumexp(reward_PN / beta, -1) - torch.tensor(float(reward_PN.shape[-1])).log())


def astar_residual(log_ratio_N: torch.Tensor, advantage_N: torch.Tensor, *, beta: float = 1e-3) -> Residual:
    """Return (β·Σ(logprob − reference) + V* − r)² of each trajectory (A*-PO, arXiv 2505.20686).

    One rollout per prompt is enough: V* comes from rollouts of the reference policy, made once.

    Args:
        log_ratio_N: Σ (logprob − reference) of each trajectory.
        advantage_N: r − V*, see `optimal_value`.
        beta: β₂.
    """
    error_N = beta * log_ratio_N - advantage_N
    return Residual(error_N.square(), 2 * beta * error_N)


def regression(
    logprob_K: torch.Tensor,
    old_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    loss_K: torch.Tensor,
    slope_K: torch.Tensor,
) -> TokenLoss:
    """Return losses per token whose sum over a trajectory has its residual's value and gradient.

    Args:
        logprob_K: Current log-probs, with gradient.
        old_K: Unused; the residual holds it.
        advantage_K: Unused; the residual holds it.
        loss_K: Loss of the token's trajectory divided by its number of tokens.
        slope_K: Slope of the token's trajectory.
    """
    return TokenLoss.of(loss_K + slope_K * (logprob_K - logprob_K.detach()))
