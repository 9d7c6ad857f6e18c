"""Group-relative estimators against numbers that their reference implementation produced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from agentrl_trainers.credit import COMPOSITIONS, CreditBatch, assign

CASES = ("s0_single_normal", "s2_multiturn_binary", "s4_equal_rewards_in_group", "s6_full")


def flat_batch(inputs: dict[str, Any], dtype: torch.dtype) -> tuple[CreditBatch, torch.Tensor]:
    """Return a padded reference batch as ragged arrays (each row one turn) and its mask."""
    mask_BL = torch.tensor(inputs["response_mask"], dtype=torch.bool)
    reward_N = torch.tensor(inputs["token_level_rewards"], dtype=torch.float64).sum(-1).to(dtype)
    names = list(dict.fromkeys(inputs["index"]))
    rows = torch.arange(len(reward_N))
    batch = CreditBatch(
        group_N=torch.tensor([names.index(name) for name in inputs["index"]]),
        reward_N=reward_N,
        trajectory_T=rows,
        turn_T=torch.zeros_like(rows),
        reward_T=reward_N,
        anchor_T=torch.full_like(rows, -1),
        valid_T=torch.ones_like(rows, dtype=torch.bool),
        turn_K=rows[:, None].expand(mask_BL.shape)[mask_BL],
        finished_N=torch.ones_like(rows, dtype=torch.bool),
    )
    return batch, mask_BL


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["grpo", "dr_grpo", "rloo", "reinforce_pp_baseline"])
def test_advantages_equal_the_reference(golden: Callable[[str], list[dict[str, Any]]], case: str, method: str) -> None:
    found = next(row for row in golden("verl_advantages") if row["name"] == case)
    expected_BL = torch.tensor(found["outputs"][method], dtype=torch.float64)
    batch, mask_BL = flat_batch(found["inputs"], torch.float64)
    torch.testing.assert_close(COMPOSITIONS[method](batch), expected_BL[mask_BL], atol=1e-9, rtol=1e-9)
    # float32, as training uses it; whitening in the reference turns rounding of equal rewards into noise
    single, _ = flat_batch(found["inputs"], torch.float32)
    advantages = assign(method, single)
    assert advantages.dtype is torch.float32
    torch.testing.assert_close(advantages.double(), expected_BL[mask_BL], atol=2e-6, rtol=2e-6)
