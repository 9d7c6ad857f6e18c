"""EGAE: advantages for windows of unfinished responses (T-PPO)."""

from __future__ import annotations

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._credit import Credit
from agentrl_trainers.credit._gae import advantages
from agentrl_trainers.credit._segments import group_sum
from agentrl_trainers.credit._tokens import end_values, token_rewards, trajectory_of_tokens, values
from agentrl_trainers.credit.modulators import whiten


def egae(
    batch: CreditBatch,
    *,
    gamma: float = 1.0,
    policy_lam: float | None = None,
    length_alpha: float = 0.05,
    critic_lam: float = 1.0,
    drop_last: int = 0,
    whitened: bool = True,
) -> Credit:
    """Return extended GAE for truncated windows and value targets from finished trajectories (arXiv 2506.15050).

    Where a window of l tokens is cut before the episode ends, V(s_l) = V(s_{l−1}) is assumed:
    δ_k = r_k + γ V_{k+1} − V_k for k < l−1 and δ_{l−1} = r_{l−1} + γ V_{l−1} − V_{l−1}; A_k = Σ (γλ)^{i−k} δ_i. A
    finished trajectory gets ordinary GAE with terminal value 0. Policy and critic have decays of their own: the
    critic learns all tokens of *finished* trajectories, with λ = 1 the Monte Carlo return.

    What rests on what: the assumption, the filter of tokens and the targets are from notes on the paper; the
    length-adaptive λ = 1 − 1/(αl) with α = .05 is VAPO's (arXiv 2504.05118) and believed to be used; both from
    memory. No code is public.

    Args:
        batch: Uses `value_K`, rewards, `finished_N`, and `fresh_K`: only tokens of the present window teach the
            policy, the earlier ones were trained on before; None = all are of it.
        gamma: Discount per token.
        policy_lam: Trace decay of the policy; None = length-adaptive.
        length_alpha: α of the length-adaptive decay.
        critic_lam: Trace decay of the targets.
        drop_last: Last tokens of a cut window that are left without credit, where the assumption biases most.
        whitened: Whiten over the tokens that teach the policy; the others stay exactly 0.
    """
    if length_alpha <= 0:
        raise ConfigError(f"length_alpha = {length_alpha}: expected more than 0")
    value_K, reward_K, index_K = values(batch), token_rewards(batch), trajectory_of_tokens(batch)
    end_K = end_values(batch, value_K, index_K, "bootstrap")
    count_N = group_sum(torch.ones_like(value_K), index_K, len(batch.finished_N))
    lam_K = (1 - 1 / (length_alpha * count_N).clamp(min=1))[index_K] if policy_lam is None else policy_lam
    advantage_K = advantages(reward_K, value_K, end_K, index_K, gamma, lam_K)
    finished_K = batch.finished_N[index_K]
    place_K = torch.arange(len(index_K), device=index_K.device)
    left_K = count_N.cumsum(0)[index_K] - place_K
    taught_K = finished_K | (left_K > drop_last)
    if batch.fresh_K is not None:
        taught_K = taught_K & batch.fresh_K
    target_K = advantages(reward_K, value_K, end_K, index_K, gamma, critic_lam) + value_K
    taught = advantage_K[taught_K]
    credited_K = torch.zeros_like(advantage_K)
    credited_K[taught_K] = whiten(batch, taught) if whitened else taught
    return Credit(credited_K, target_K, finished_K)
