"""Golden figures of POAD, NTPO and ARCHER: rows are [step][thread][token], an episode may end in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.credit import CreditBatch
from agentrl_trainers.credit.estimators import poad
from agentrl_trainers.credit.estimators._poad import Backup
from agentrl_trainers.verify._family import Family

BACKUPS: dict[str, Backup] = {"POAD": "poad", "NTPO": "ntpo", "ARCHER": "archer"}


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case."""
    reward_ST = torch.tensor(inputs["rewards"], dtype=torch.float64)
    value_STL = torch.tensor(inputs["values"], dtype=torch.float64)
    steps = len(reward_ST)
    # Values may hold one step more: the state after the last, of which only `next_value` is read.
    value_STL = value_STL[:steps]
    count_ST = torch.tensor(inputs["n_action_tokens"])
    done_ST = torch.tensor(inputs["masks"])[1:] == 0
    mask_STL = torch.arange(value_STL.shape[-1]) < count_ST[..., None]
    batch = _batch(reward_ST, value_STL, count_ST, done_ST, inputs["next_value"], mask_STL)
    found: dict[str, Any] = {}
    for key in wanted:
        if key not in BACKUPS:
            continue
        credit = poad(batch, gamma=inputs["gamma"], lam=inputs["gae_lambda"], backup=BACKUPS[key])
        assert credit.return_K is not None
        found[key] = {
            "advantages": _by_step(credit.advantage_K, mask_STL),
            "returns": _by_step(credit.return_K, mask_STL),
        }
    return found


def _batch(
    reward_ST: torch.Tensor,
    value_STL: torch.Tensor,
    count_ST: torch.Tensor,
    done_ST: torch.Tensor,
    next_value: list[float],
    mask_STL: torch.Tensor,
) -> CreditBatch:
    steps, threads = reward_ST.shape
    done_TS = done_ST.T
    ends_TS = done_TS.clone()
    ends_TS[:, -1] = True
    end_T = ends_TS.flatten()
    trajectory_T = end_T.cumsum(0) - end_T.long()
    thread_T = torch.arange(threads).repeat_interleave(steps)
    place_T = torch.arange(steps * threads)
    start_T = torch.where(torch.cat([torch.ones(1, dtype=torch.bool), end_T[:-1]]), place_T, 0).cummax(0).values
    reward_T = reward_ST.T.flatten()
    trajectories = int(trajectory_T[-1]) + 1
    return CreditBatch(
        group_N=torch.zeros(trajectories, dtype=torch.int64),
        reward_N=torch.zeros(trajectories, dtype=torch.float64).index_add_(0, trajectory_T, reward_T),
        trajectory_T=trajectory_T,
        turn_T=place_T - start_T,
        reward_T=reward_T,
        anchor_T=torch.full_like(place_T, -1),
        valid_T=torch.ones_like(place_T, dtype=torch.bool),
        turn_K=torch.repeat_interleave(place_T, count_ST.T.flatten()),
        finished_N=done_TS.flatten()[end_T],
        value_K=value_STL.transpose(0, 1)[mask_STL.transpose(0, 1)],
        bootstrap_N=torch.tensor(next_value, dtype=torch.float64)[thread_T[end_T]],
    )


def _by_step(values_K: torch.Tensor, mask_STL: torch.Tensor) -> torch.Tensor:
    by_thread = torch.zeros(mask_STL.transpose(0, 1).shape, dtype=values_K.dtype)
    by_thread[mask_STL.transpose(0, 1)] = values_K
    return by_thread.transpose(0, 1)


FAMILY = Family("poad_bad", recompute)
