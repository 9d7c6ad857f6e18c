"""Step-group and turn-level methods against the figures of their authors' code and against worked examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit import COMPOSITIONS, CreditBatch
from agentrl_trainers.credit._similarity import similar_anchors
from agentrl_trainers.credit.turn_rewards import efficiency_discount, length_reward, overlong_penalty
from agentrl_trainers.verify import Verdict, read_golden, verify_file

GOLDEN = Path(__file__).parents[2] / "golden"


def batch_of(rewards: Sequence[Sequence[float]], **fields: Any) -> CreditBatch:
    """Return one group of trajectories with these rewards of turns, each turn one token."""
    turns = [len(row) for row in rewards]
    count = sum(turns)
    reward_T = torch.tensor([reward for row in rewards for reward in row], dtype=torch.float64)
    trajectory_T = torch.repeat_interleave(torch.arange(len(turns)), torch.tensor(turns))
    parts: dict[str, Any] = {
        "group_N": torch.zeros(len(turns), dtype=torch.int64),
        "reward_N": torch.tensor([sum(row) for row in rewards], dtype=torch.float64),
        "trajectory_T": trajectory_T,
        "turn_T": torch.tensor([turn for length in turns for turn in range(length)]),
        "reward_T": reward_T,
        "anchor_T": torch.full((count,), -1),
        "valid_T": torch.ones(count, dtype=torch.bool),
        "turn_K": torch.arange(count),
        "finished_N": torch.ones(len(turns), dtype=torch.bool),
    }
    return CreditBatch(**(parts | fields))


def close(found: torch.Tensor, expected: Sequence[float], tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found.double(), torch.tensor(expected).double(), atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("family", "outputs"), [("gigpo", 36), ("hgpo", 147), ("igpo", 51), ("igpo_info_gain", 6), ("empg", 6)]
)
def test_every_figure_of_the_reference_is_reproduced(family: str, outputs: int) -> None:
    findings = list(verify_file(read_golden(GOLDEN / f"{family}.json")))
    assert [finding for finding in findings if finding.verdict is not Verdict.OK] == []
    assert len(findings) == outputs


def test_aepo_is_reproduced_but_for_the_gradient_that_its_port_inverts() -> None:
    verdicts = {
        (finding.case, finding.key): finding.verdict for finding in verify_file(read_golden(GOLDEN / "aepo_loss.json"))
    }
    bugs = [key for (_, key), verdict in verdicts.items() if verdict is Verdict.REFERENCE_BUG]
    assert bugs == ["grad_log_prob", "grad_log_prob"]
    assert list(verdicts.values()).count(Verdict.OK) == len(verdicts) - 2


def test_overlong_penalty_is_the_reference_s(golden: Any) -> None:
    for case in golden("areal_critic_overlong"):
        figures = case["outputs"]["overlong"]
        penalty = overlong_penalty(
            torch.tensor(figures["response_lengths"]),
            max_length=figures["max_response_length"],
            buffer=figures["overlong_tokens"],
            factor=figures["penalty_factor"],
        )
        close(torch.tensor(figures["rewards_in"]) + penalty, figures["rewards_out"], 1e-6)
    assert overlong_penalty(torch.tensor([18432, 99999]), max_length=20480, buffer=4096, factor=1).tolist() == [
        -0.5,
        -1,
    ]
    with pytest.raises(ConfigError, match="buffer"):
        overlong_penalty(torch.tensor([1]), max_length=10, buffer=11, factor=1)


def test_gigpo_adds_the_step_to_the_episode() -> None:
    batch = batch_of([[0, 10], [0, 0]], anchor_T=torch.tensor([0, 1, 0, 2]))
    close(COMPOSITIONS["gigpo"](batch), [9.75, 5, -9.75, -5])
    close(COMPOSITIONS["gigpo"](batch, step_weight=0), [5, 5, -5, -5])


def test_gigpo_counts_long_episodes_more_unless_told_otherwise() -> None:
    batch = batch_of([[0, 0, 0], [6.0]])
    close(COMPOSITIONS["gigpo"](batch), [-1.5, -1.5, -1.5, 4.5])
    close(COMPOSITIONS["gigpo"](batch, cross_steps=False), [-3, -3, -3, 3])


def test_hgpo_weighs_agreement_of_history_more() -> None:
    # Three turns act from state 9; two of them came there from state 5. Returns 10, 0, 5: 1.2247 and 1 for the first.
    rewards = [[0, 10], [0, 0], [0, 5.0]]
    batch = batch_of(rewards, anchor_T=torch.tensor([5, 9, 5, 9, 6, 9]))
    advantages = COMPOSITIONS["hgpo"](batch, gamma=1.0)
    assert advantages[1].item() == pytest.approx((2 * 1.2247 + 3 * 1) / 5, abs=1e-4)
    assert advantages[4].item() == 0  # state 6 was met once
    nameless = batch_of(rewards, anchor_T=torch.tensor([-1, 9, -1, 9, -1, 9]))
    close(COMPOSITIONS["hgpo"](nameless, gamma=1.0)[1::2], [1.2247, -1.2247, 0])


@pytest.mark.parametrize(
    ("method", "expected"), [("igpo", [2, 1, -2, -1]), ("igpo_joint", [1.519, 1.679, -1.519, -0.717])]
)
def test_igpo_accumulates_normalised_gains_and_outcomes(method: str, expected: list[float]) -> None:
    beliefs = torch.tensor([0.1353, 0.3679, 0.1353, 0.1]).log()
    batch = batch_of([[0, 1], [0, 0]], belief_T=beliefs)
    close(COMPOSITIONS[method](batch, gain="prob_diff"), expected, 2e-3)


def test_igpo_keeps_the_turn_of_a_reward_that_is_exactly_zero() -> None:
    """The reference loses such a turn end, and with γ < 1 the turns before it are credited wrongly."""
    batch = batch_of([[0, 0, 1], [0, 0, 0]], information_T=torch.tensor([1.0, 0, torch.nan, -1, 0, torch.nan]))
    advantages = COMPOSITIONS["igpo"](batch, gamma=0.5, scale_by_std=False)
    close(advantages, [1.125, 0.25, 0.5, -1.125, -0.25, -0.5])


def test_igpo_falls_back_to_the_outcome_where_nothing_is_known() -> None:
    nothing = torch.full((5,), torch.nan)
    batch = batch_of([[0, 0, 1], [0, 0]], information_T=nothing)
    close(COMPOSITIONS["igpo"](batch, gamma=0.5, scale_by_std=False), [0.5] * 3 + [-0.5] * 2)


def test_empg_gives_certain_steps_more_and_a_bonus_to_what_leads_there() -> None:
    batch = batch_of([[0, 0, 1.0]], entropy_K=torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    close(COMPOSITIONS["empg"](batch), [0.5476, -0.0742, -0.4735])
    close(COMPOSITIONS["empg"](batch, zeta=0.0), [0.5195, -0.0784, -0.4410])


def test_arpo_s_hard_attribution_averages_over_the_branches_of_a_token() -> None:
    # The second trajectory is a branch: its first turn is the very first turn of the first.
    batch = batch_of([[0, 1], [0, 0], [0.0]], shared_K=torch.tensor([0, 1, 0, 3, 4]))
    soft, hard = COMPOSITIONS["arpo"](batch), COMPOSITIONS["arpo_hard"](batch)
    close(soft, [1.1547, 1.1547, -0.5774, -0.5774, -0.5774])
    close(hard, [0.2887, 1.1547, 0.2887, -0.5774, -0.5774])


def test_eapo_compares_turns_by_how_soon_the_task_was_solved() -> None:
    batch = batch_of([[0, 0, 1], [1.0]])
    close(efficiency_discount(batch, efficiency=0.9).reward_T, [0.81, 0.9, 1, 1])
    advantages = COMPOSITIONS["eapo"](batch, efficiency=0.9)
    assert advantages[0] < advantages[1] < advantages[2] == advantages[3]
    assert advantages.sum().item() == pytest.approx(0, abs=1e-9)


def test_invalid_actions_cost_the_step_and_the_episode() -> None:
    valid = torch.tensor([True, False, True, True])
    batch = batch_of([[0, 1], [0, 1]], valid_T=valid, anchor_T=torch.tensor([0, 1, 0, 1]))
    advantages = COMPOSITIONS["gigpo"](batch, gamma=1.0)
    close(advantages, [-0.1, -0.1, 0.1, 0.1], 1e-6)
    assert torch.count_nonzero(COMPOSITIONS["gigpo"](batch, gamma=1.0, invalid_penalty=0.0)) == 0


def test_short_correct_answers_are_preferred_and_long_wrong_ones_punished() -> None:
    tokens = torch.tensor([0, 1, 1, 1, 2, 3, 3, 3])
    found = length_reward(batch_of([[1.0], [1.0], [0.0], [0.0]], turn_K=tokens))
    close(found.reward_N, [1.5, 0.5, 0, -0.5])


def test_texts_that_are_almost_equal_share_an_anchor_within_a_group() -> None:
    room = "You are in a room with a red ball, a blue box and a door that is closed. Step 1"
    texts = [room, room.replace("Step 1", "Step 2"), "The door is open.", room, room]
    assert similar_anchors(texts, [0, 0, 0, 0, 1]).tolist() == [0, 0, 1, 0, 2]
    assert similar_anchors(texts, [0, 0, 0, 0, 1], similarity=1.0).tolist() == [0, 1, 2, 0, 3]
