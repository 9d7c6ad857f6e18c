"""Golden figures of AReaL's critic loss and of DAPO's overlong penalty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from agentrl_trainers.credit.turn_rewards import overlong_penalty
from agentrl_trainers.objectives import value_loss
from agentrl_trainers.verify._family import Family
from agentrl_trainers.verify.families._padded import Padded


def recompute(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute the outputs of a case: `mse` and `huber`, the kinds of the critic's loss, and `overlong`.

    The inputs of `overlong` are recorded among its outputs.
    """
    found: dict[str, Any] = {}
    rows = Padded(inputs["loss_mask"])
    for key, outputs in wanted.items():
        if key == "overlong":
            penalty_N = overlong_penalty(
                torch.tensor(outputs["response_lengths"]),
                max_length=int(outputs["max_response_length"]),
                buffer=int(outputs["overlong_tokens"]),
                factor=float(outputs["penalty_factor"]),
            )
            found[key] = dict(outputs) | {"rewards_out": torch.tensor(outputs["rewards_in"]).double() + penalty_N}
        elif key in ("mse", "huber"):
            # In the reference's own precision: its mask of clipped values depends on rounding.
            result = value_loss(
                rows.flat(inputs["value"]).float(),
                rows.flat(inputs["old_value"]).float(),
                rows.flat(inputs["target_value"]).float(),
                clip=float(inputs["value_eps_clip"]),
                kind="huber" if key == "huber" else "mse",
                clipped="change",
            )
            found[key] = {
                "loss": (rows.weights("token-mean") * result.loss_K).sum(),
                "clip_mask": rows.padded(result.clipped_K),
            }
    return found


FAMILY = Family("areal_critic_overlong", recompute)
