"""Objectives by the name the run file gives them (`[trainer] objective`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agentrl_trainers.objectives._aggregate import Aggregation
from agentrl_trainers.objectives._bapo import bapo
from agentrl_trainers.objectives._cispo import cispo
from agentrl_trainers.objectives._covariance import clip_cov, kl_cov
from agentrl_trainers.objectives._decoupled import decoupled_ppo
from agentrl_trainers.objectives._dppo import dppo
from agentrl_trainers.objectives._gbpo import gbpo
from agentrl_trainers.objectives._gmpo import gmpo
from agentrl_trainers.objectives._gspo import gspo, luspo
from agentrl_trainers.objectives._m2po import m2po
from agentrl_trainers.objectives._policy_gradient import dro, policy_gradient
from agentrl_trainers.objectives._ppo import ppo_clip
from agentrl_trainers.objectives._prime_rl import prime_rl
from agentrl_trainers.objectives._regression import regression
from agentrl_trainers.objectives._sapo import sapo
from agentrl_trainers.objectives._token_loss import TokenLoss
from agentrl_trainers.objectives._vespo import vespo
from agentrl_trainers.objectives._whole_batch import (
    Preparation,
    prepare_bapo,
    prepare_clip_cov,
    prepare_gbpo,
    prepare_gvpo,
    prepare_kl_cov,
    prepare_m2po,
    prepare_rebel,
)


@dataclass(frozen=True)
class ObjectiveMethod:
    """An objective and how its authors use it.

    Attributes:
        function: `f(logprob_K, old_K, advantage_K, *, options)`; with `policies="both"`, `f(logprob_K, proximal_K,
            behaviour_K, advantage_K, *, options)`.
        aggregation: Its authors' way from token losses to one number.
        policies: What the ratio is taken against. "either": the behaviour policy, or the proximal one where a
            `mismatch` correction covers the rest; "behaviour": that only; "both": the function corrects by itself.
        preparation: What it needs to know of the whole batch, at the price of one more forward pass, or None.
        everywhere: Whether tokens without advantage have a gradient, too, so that none may be skipped.
        shared: Fields of `[trainer]` that are options of it; all others are given in `[trainer.objective_options]`.
    """

    function: Callable[..., TokenLoss]
    aggregation: Aggregation = "token-mean"
    policies: Literal["either", "behaviour", "both"] = "either"
    preparation: Preparation | None = None
    everywhere: bool = False
    shared: tuple[str, ...] = ()

    def options(self) -> set[str]:
        """Return the names of the options that a run file may give it."""
        functions = [self.function] + ([self.preparation.function] if self.preparation else [])
        names = {name for function in functions for name in keywords(function)}
        return {name for name in names if not name.endswith("_K") and name != "bounds"}


OBJECTIVES: dict[str, ObjectiveMethod] = {
    "decoupled_ppo": ObjectiveMethod(
        decoupled_ppo, policies="both", shared=("clip_low", "clip_high", "importance_cap", "importance_action")
    ),
    "ppo_clip": ObjectiveMethod(ppo_clip, shared=("clip_low", "clip_high")),
    "gspo": ObjectiveMethod(gspo, "seq-mean-token-mean"),
    "luspo": ObjectiveMethod(luspo, "seq-mean-token-sum"),
    "gmpo": ObjectiveMethod(gmpo, "seq-mean-token-mean"),
    "cispo": ObjectiveMethod(cispo),
    "sapo": ObjectiveMethod(sapo, "seq-mean-token-mean"),
    "vespo": ObjectiveMethod(vespo),
    "dppo": ObjectiveMethod(dppo),
    "prime_rl": ObjectiveMethod(prime_rl, policies="behaviour", everywhere=True),
    "policy_gradient": ObjectiveMethod(policy_gradient),
    "dro": ObjectiveMethod(dro, everywhere=True),
    "m2po": ObjectiveMethod(m2po, policies="behaviour", preparation=Preparation(prepare_m2po)),
    "bapo": ObjectiveMethod(bapo, preparation=Preparation(prepare_bapo)),
    "clip_cov": ObjectiveMethod(clip_cov, preparation=Preparation(prepare_clip_cov), everywhere=True),
    "kl_cov": ObjectiveMethod(kl_cov, preparation=Preparation(prepare_kl_cov), everywhere=True),
    "gbpo": ObjectiveMethod(gbpo, preparation=Preparation(prepare_gbpo, groups=True, forward=False)),
    "gvpo": ObjectiveMethod(
        regression, "seq-mean-token-sum", preparation=Preparation(prepare_gvpo, groups=True), everywhere=True
    ),
    "rebel": ObjectiveMethod(
        regression, "seq-mean-token-sum", preparation=Preparation(prepare_rebel, groups=True), everywhere=True
    ),
}
"""Every objective by name. GVPO and REBEL expect credit "dr_grpo", GBPO "grpo"."""


def keywords(function: Callable[..., object]) -> list[str]:
    """Return the names of a function's keyword-only parameters."""
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
