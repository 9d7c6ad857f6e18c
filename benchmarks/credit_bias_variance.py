"""How true each credit method is: bias, noise and signs against exact advantages, at equal numbers of rollouts.

    python benchmarks/credit_bias_variance.py [--batches 150] [--groups 16] [--group 8] [--seed 0] [--json FILE]

The world is a small maze whose advantages A(s, a) are known exactly (benchmarks/worlds/tabular.py). Every method gets
the same batches of walks, as `CreditBatch`, and is called by its name as training calls it. Values are in units of the
root mean square of A over visited turns, so 0 is perfect and always answering 0 has an error of 1:

- scale: what advantages were multiplied by. A method whose advantages double when rewards do is taken as it is (1).
  Others normalise: they get the one scalar with the least tilt, as the best learning rate would give it.
- bias: of the mean answer per state and action. A trajectory's reward is no estimate of A(s, a) but of A plus the luck
  before it, which depends on the state alone; as a baseline it does no harm to the expected gradient.
- tilt: the bias that is left when each state's mean over the policy's actions is taken out. This one bends gradients.
- noise: standard deviation of single answers around their mean.
- error: root mean square error of single answers; beside it the ratio to grpo's.
- signs: share of turns whose answer has the sign of A (0 counts as wrong; turns with |A| below 5 % are left out).

Critic methods run twice: with exact values, and with values that are wrong by a random amount per state, drawn anew for
each batch (`--critic-error`). Information gain uses the exact value as the policy's belief, with the same errors. The
baselines of remax and single_stream are the value of the first room. hiper_hae chooses a subgoal every third turn.
Nothing here branches, runs too long or has several reward parts, so arpo and dapo do what grpo does.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from worlds.tabular import DOORS, ROOMS, Float, Int, Walks, World, make_world, walk

from agentrl.errors import AgentRLError
from agentrl_trainers.credit import COMPOSITIONS, CreditBatch, Need, Plan, assign

TOKENS = 2
"""Per turn: the first chooses the door, the second follows from it and deserves nothing."""


@dataclass
class Tally:
    """What a method answered, by state and action; halves of the batches apart, so that noise is not taken for bias."""

    count_HSA: Float = field(default_factory=lambda: np.zeros((2, ROOMS, DOORS)))
    sum_HSA: Float = field(default_factory=lambda: np.zeros((2, ROOMS, DOORS)))
    square_SA: Float = field(default_factory=lambda: np.zeros((ROOMS, DOORS)))
    agreed: float = 0.0
    judged: float = 0.0
    seconds: float = 0.0

    def add(self, half: int, room_T: Int, door_T: Int, answer_T: Float, truth_T: Float, negligible: float) -> None:
        """Count one batch."""
        place = room_T * DOORS + door_T
        for array, weights in ((self.count_HSA[half], None), (self.sum_HSA[half], answer_T)):
            array += np.bincount(place, weights, ROOMS * DOORS).reshape(ROOMS, DOORS)
        self.square_SA += np.bincount(place, answer_T**2, ROOMS * DOORS).reshape(ROOMS, DOORS)
        judged_T = np.abs(truth_T) > negligible
        self.agreed += float((np.sign(answer_T) == np.sign(truth_T))[judged_T].sum())
        self.judged += float(judged_T.sum())


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batches", type=int, default=150, help="batches that every method answers")
    parser.add_argument("--groups", type=int, default=16, help="groups of a batch")
    parser.add_argument("--group", type=int, default=8, help="walks of a group")
    parser.add_argument("--critic-error", type=float, default=0.1, help="standard deviation of a critic's errors")
    parser.add_argument("--seed", type=int, default=0, help="seed of the maze and of the walks")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()

    world = make_world(options.seed)
    rng = np.random.default_rng(options.seed + 1)
    truth_SA = world.advantage_SA
    tallies: dict[str, Tally] = {}
    linear: dict[str, bool] = {}
    skipped: dict[str, str] = {}
    for number in range(options.batches):
        walks = walk(world, options.groups * options.group, rng)
        error_S = rng.normal(0, options.critic_error, ROOMS)
        truth_T = truth_SA[walks.room_T, walks.door_T]
        negligible = 0.05 * float(np.sqrt((truth_T**2).mean()))
        batches = {
            "exact": credit_batch_of(world, walks, options.group, np.zeros(ROOMS)),
            "noisy": credit_batch_of(world, walks, options.group, error_S),
        }
        for label, name, critic in variants():
            if label in skipped:
                continue
            batch = batches[critic]
            if COMPOSITIONS[name].value_heads > 1 and batch.value_K is not None:
                batch = replace(batch, value_K=batch.value_K[:, None].expand(-1, COMPOSITIONS[name].value_heads))
            started = time.perf_counter()
            try:
                answer_T = answers(name, batch)
            except (AgentRLError, ValueError) as error:
                skipped[label] = str(error)
                continue
            if label not in tallies:
                tallies[label] = Tally()
                linear[label] = bool(np.allclose(answers(name, doubled(batch)), 2 * answer_T, rtol=1e-4, atol=1e-6))
            tally = tallies[label]
            tally.seconds += time.perf_counter() - started
            tally.add(number % 2, walks.room_T, walks.door_T, answer_T, truth_T, negligible)
    figures = {label: judge(tally, truth_SA, world.policy_SA, linear[label]) for label, tally in tallies.items()}
    show(figures, skipped, options)
    if options.json:
        document = {"options": {**vars(options), "json": None}, "methods": figures, "skipped": skipped}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def variants() -> list[tuple[str, str, str]]:
    """Return (label, method, kind of critic) of everything that is measured."""
    found = []
    for name, method in COMPOSITIONS.items():
        if Need.CRITIC in method.needs or Need.GROUND_TRUTH in method.needs:
            found += [(f"{name} ({critic})", name, critic) for critic in ("exact", "noisy")]
        else:
            found.append((name, name, "exact"))
    return found


def answers(name: str, batch: CreditBatch) -> Float:
    """Return a method's advantage of each turn: that of the token which chose the door."""
    answer: Float = assign(name, batch).double().numpy()[::TOKENS]
    return answer


def doubled(batch: CreditBatch) -> CreditBatch:
    """Return the batch with all rewards and values twice as large."""
    value_K = None if batch.value_K is None else 2 * batch.value_K
    baseline_N = None if batch.baseline_N is None else 2 * batch.baseline_N
    return replace(
        batch, reward_N=2 * batch.reward_N, reward_T=2 * batch.reward_T, value_K=value_K, baseline_N=baseline_N
    )


def credit_batch_of(world: World, walks: Walks, group: int, error_S: Float) -> CreditBatch:
    """Return walks in the form that credit works on, with everything a method may need."""
    turns, count = len(walks.turn_T), len(walks.finished_N)
    turn_K = np.repeat(np.arange(turns), TOKENS)
    value_S = world.value_S + error_S
    # After the first token the door is chosen: the value there is Q(s, a).
    value_TK = np.stack([value_S[walks.room_T], (world.quality_SA + error_S[:, None])[walks.room_T, walks.door_T]], 1)
    entropy_TK = np.stack([world.entropy_S[walks.room_T], np.zeros(turns)], 1)
    squared_TK = np.stack([(world.policy_SA**2).sum(1)[walks.room_T], np.ones(turns)], 1)
    logprob_TK = np.stack([np.log(world.policy_SA[walks.room_T, walks.door_T]), np.zeros(turns)], 1)
    belief_T = np.log(value_S[walks.room_T].clip(0.01, 1.0))
    last_T = np.append(walks.trajectory_T[1:] != walks.trajectory_T[:-1], True)
    gain_T = np.append(np.diff(belief_T), np.nan)
    return CreditBatch(
        group_N=torch.arange(count) // group,
        reward_N=torch.from_numpy(np.bincount(walks.trajectory_T, walks.reward_T, count)),
        trajectory_T=torch.from_numpy(walks.trajectory_T),
        turn_T=torch.from_numpy(walks.turn_T),
        reward_T=torch.from_numpy(walks.reward_T),
        anchor_T=torch.from_numpy(walks.room_T),
        valid_T=torch.ones(turns, dtype=torch.bool),
        turn_K=torch.from_numpy(turn_K),
        finished_N=torch.from_numpy(walks.finished_N),
        logprob_K=torch.from_numpy(logprob_TK.ravel()),
        entropy_K=torch.from_numpy(entropy_TK.ravel()),
        value_K=torch.from_numpy(value_TK.ravel()),
        belief_T=torch.from_numpy(belief_T),
        information_T=torch.from_numpy(np.where(last_T, np.nan, gain_T)),
        squared_K=torch.from_numpy(squared_TK.ravel()),
        baseline_N=torch.full((count,), float(value_S[0]), dtype=torch.float64),
        plan=Plan(
            torch.from_numpy(walks.turn_T % 3 == 0),
            torch.full((turns,), -1),
            torch.tensor([Plan.ACTION, Plan.OTHER]).repeat(turns),
        ),
    )


def judge(tally: Tally, truth_SA: Float, policy_SA: Float, is_linear: bool) -> dict[str, float]:
    """Return a method's figures, in units of the root mean square of the exact advantages."""
    count_SA = tally.count_HSA.sum(0)
    weight_SA = count_SA / count_SA.sum()
    seen_SA = (tally.count_HSA > 0).all(0)
    weight_SA = np.where(seen_SA, weight_SA, 0.0)
    mean_HSA = tally.sum_HSA / np.maximum(tally.count_HSA, 1)
    mean_SA = tally.sum_HSA.sum(0) / np.maximum(count_SA, 1)
    unit = np.sqrt((weight_SA * truth_SA**2).sum())
    # Without each state's mean over the policy's actions, which is a baseline; that of the exact advantages is 0.
    centred_HSA = mean_HSA - (policy_SA * mean_HSA).sum(-1, keepdims=True)
    power = (weight_SA * centred_HSA[0] * centred_HSA[1]).sum()
    fitted = (weight_SA * centred_HSA.mean(0) * truth_SA).sum() / power if power > 0 else 0.0
    scale = 1.0 if is_linear else float(fitted)
    bias_HSA, tilt_HSA = scale * mean_HSA - truth_SA, scale * centred_HSA - truth_SA
    variance_SA = scale**2 * (tally.square_SA / np.maximum(count_SA, 1) - mean_SA**2)
    bias, tilt = ((weight_SA * array[0] * array[1]).sum() for array in (bias_HSA, tilt_HSA))
    noise = (weight_SA * variance_SA).sum()
    error = (weight_SA * ((scale * mean_SA - truth_SA) ** 2 + variance_SA)).sum()
    return {
        "scale": scale,
        "bias": float(np.sqrt(max(bias, 0.0)) / unit),
        "tilt": float(np.sqrt(max(tilt, 0.0)) / unit),
        "noise": float(np.sqrt(max(noise, 0.0)) / unit),
        "error": float(np.sqrt(error) / unit),
        "signs": tally.agreed / max(tally.judged, 1.0),
        "seconds": tally.seconds,
    }


def show(figures: dict[str, dict[str, float]], skipped: dict[str, str], options: argparse.Namespace) -> None:
    """Print the table, the smallest error first."""
    rollouts = options.batches * options.groups * options.group
    table = Table(title=f"{rollouts} rollouts for each method, in groups of {options.group}")
    table.add_column("method")
    for column in ("scale", "bias", "tilt", "noise", "error", "of grpo's", "signs"):
        table.add_column(column, justify="right")
    baseline = figures["grpo"]["error"]
    for label, row in sorted(figures.items(), key=lambda entry: entry[1]["error"]):
        cells = [f"{row[name]:.2f}" for name in ("bias", "tilt", "noise", "error")]
        scale = "1" if row["scale"] == 1 else f"{row['scale']:.3f}"
        table.add_row(label, scale, *cells, f"{row['error'] / baseline:.2f}", f"{row['signs']:.0%}")
    console = Console()
    console.print(table)
    for label, reason in skipped.items():
        console.print(f"{label}: not measured, {reason}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
