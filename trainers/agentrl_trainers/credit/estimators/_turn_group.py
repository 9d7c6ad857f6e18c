"""Turns as samples: every turn of every trajectory of a task is compared with all the others."""

from __future__ import annotations

import torch

from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._segments import group_statistics
from agentrl_trainers.credit.estimators._relative import Normalisation, relative


def turn_group(batch: CreditBatch, *, mode: Normalisation = "mean_std_norm") -> torch.Tensor:
    """Return A_t = (r_t − mean)/(std + 1e-6), over all turns of all trajectories of the group (unbiased std).

    The estimator of EAPO (IterResearch, Chen et al. 2025, arXiv 2511.07327), whose rounds are samples of their own: no
    reward is accumulated over turns. The paper pairs it with the objective GSPO. That std is the unbiased one is an
    assumption, after GRPO.

    Args:
        batch: Uses `reward_T`, e.g. from `efficiency_discount`.
        mode: "mean_std_norm", or "mean_norm" for no division.

    Raises:
        ConfigError: Unknown mode.
    """
    return relative(group_statistics(batch.reward_T, batch.group_N[batch.trajectory_T]), mode)[batch.turn_K]
