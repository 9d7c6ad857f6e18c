"""Objectives by the name the run file gives them (`[trainer] objective`)."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.objectives._decoupled import decoupled_ppo
from agentrl_trainers.objectives._ppo import ppo_clip
from agentrl_trainers.objectives._token_loss import Objective, TokenLoss


def coupled_ppo(
    logprob_K: torch.Tensor,
    proximal_K: torch.Tensor,
    behaviour_K: torch.Tensor,
    advantage_K: torch.Tensor,
    *,
    sequence_K: torch.Tensor | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = 3.0,
) -> TokenLoss:
    """Return `ppo_clip` against the behaviour policy itself: clips on staleness too, and needs no importance weight."""
    return ppo_clip(logprob_K, behaviour_K, advantage_K, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip)


OBJECTIVES: dict[str, Callable[..., TokenLoss]] = {
    "decoupled_ppo": decoupled_ppo,
    "ppo_clip": coupled_ppo,
}
"""Every objective by name."""


def objective(name: str, options: Mapping[str, Any]) -> Objective:
    """Return an objective with its options bound.

    Args:
        name: Key of `OBJECTIVES`.
        options: Values by name, e.g. those of the run file; an objective takes those it has parameters for.

    Raises:
        ConfigError: There is none of that name; the message has the nearest.
    """
    if name not in OBJECTIVES:
        close = difflib.get_close_matches(name, OBJECTIVES, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ConfigError(f"trainer.objective = {name!r}: no such objective{hint} Known: {', '.join(OBJECTIVES)}")
    function = OBJECTIVES[name]
    known = inspect.signature(function).parameters
    return functools.partial(function, **{key: value for key, value in options.items() if key in known})
