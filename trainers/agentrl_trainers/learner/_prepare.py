"""What an objective needs to know of a whole batch before its micro-batches. K = sampled tokens, C = chosen tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentrl_trainers.learner._flat import FlatBatch
from agentrl_trainers.objectives import BoundObjective, WholeBatch


def prepare(
    objective: BoundObjective,
    batch: FlatBatch,
    chosen_K: npt.NDArray[np.bool_],
    logprob_K: torch.Tensor,
    proximal_K: torch.Tensor,
    seed: Sequence[int],
) -> dict[str, Any]:
    """Return the objective's arguments for this update; values per token are [K], 0 where no token was chosen.

    Args:
        objective: With a preparation.
        batch: The whole batch.
        chosen_K: Tokens that count.
        logprob_K: Under the current weights, where chosen.
        proximal_K: Under the weights at the start of the step, where chosen.
        seed: Of random choices.

    Raises:
        ValueError: Groups are needed, but rows do not say theirs.
    """
    preparation = objective.method.preparation
    if preparation is None:
        return {}
    index_C = torch.from_numpy(np.flatnonzero(chosen_K))
    group_C = batch.group_K[index_C]
    if preparation.groups and (group_C < 0).any():
        raise ValueError("this objective compares the members of groups, but the rows do not say theirs: set Row.group")
    device = batch.advantage_K.device
    place_C = index_C.to(device)
    generator = torch.Generator()
    generator.manual_seed(int(np.random.SeedSequence(list(seed)).generate_state(1)[0]))
    found = objective.prepare(
        WholeBatch(
            logprob_K=logprob_K[place_C],
            old_K=objective.old(proximal_K, batch.behaviour_K)[place_C],
            advantage_K=batch.advantage_K[place_C],
            trajectory_K=batch.sequence_K[index_C].to(device),
            group_K=group_C.to(device),
            generator=generator,
        )
    )
    return {
        name: _spread(value, place_C, len(batch)) if name.endswith("_K") else value for name, value in found.items()
    }


def part(prepared: dict[str, Any], flat_M: torch.Tensor) -> dict[str, Any]:
    """Return prepared arguments for the tokens of a micro-batch."""
    return {name: value[flat_M] if name.endswith("_K") else value for name, value in prepared.items()}


def _spread(value_C: torch.Tensor, place_C: torch.Tensor, count: int) -> torch.Tensor:
    spread_K = value_C.new_zeros(count)
    spread_K[place_C] = value_C
    return spread_K
