"""Seconds from trajectories to advantages, for every credit method that needs no critic.

    python benchmarks/credit_speed.py [--trajectories 512] [--turns 30] [--tokens 4096] [--repeats 3] [--json FILE]

Every trajectory has `--tokens` sampled tokens beside as many of its environment, entropies, and states that others of
its group visit too; every second one branches from the one before it, half-way. "build" makes the `CreditBatch`, once
for all methods; "assign" is one method by its name, as training calls it; "total" is both. The best of the repeats
counts. The bound is one second; "of bound" is its share. "cpu s" is processor time of one "assign" over all threads:
on a busy machine it tells more than the clock.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from agentrl.errors import AgentRLError
from agentrl.trajectory import Segment, Span, SpanKind, Status, StopReason, Trajectory, Turn
from agentrl_trainers.credit import COMPOSITIONS, CreditBatch, Need, assign, credit_batch

BOUND = 1.0
"""Seconds that the step from trajectories to advantages may take."""
GROUP = 8
STATES = 12
"""States that a group's trajectories move among."""

Result = TypeVar("Result")


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trajectories", type=int, default=512, help="trajectories of the batch, in groups of 8")
    parser.add_argument("--turns", type=int, default=30, help="turns of each")
    parser.add_argument("--tokens", type=int, default=4096, help="sampled tokens of each")
    parser.add_argument("--repeats", type=int, default=3, help="measurements, of which the best counts")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    trajectories: list[Trajectory] = []
    for number in range(options.trajectories):
        parent = trajectories[-1] if number % 2 else None
        trajectories.append(make_trajectory(rng, number, options.turns, options.tokens, parent))
    build, batch = best(lambda: credit_batch(trajectories), options.repeats)
    batch = with_extras(batch)
    figures: dict[str, float] = {}
    cpu: dict[str, float] = {}
    skipped: dict[str, str] = {}
    for name, method in COMPOSITIONS.items():
        if Need.CRITIC in method.needs:
            continue
        try:
            began = time.process_time()
            figures[name], _ = best(lambda name=name: assign(name, batch), options.repeats)
            cpu[name] = (time.process_time() - began) / max(options.repeats, 1)
        except (AgentRLError, ValueError) as error:
            skipped[name] = str(error)
    show(build, figures, cpu, skipped, options)
    if options.json:
        document = {"build": build, "assign": figures, "cpu": cpu, "skipped": skipped, "bound": BOUND}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def make_trajectory(
    rng: np.random.Generator, number: int, turns: int, tokens: int, parent: Trajectory | None
) -> Trajectory:
    """Return a trajectory of random tokens, whose first half is the parent's where it has one."""
    shared = 0 if parent is None else turns // 2
    spans = [] if parent is None else list(parent.segments[0].spans[: 2 * shared])
    played = [] if parent is None else list(parent.turns[:shared])
    tokens -= sum(len(span) for span in spans[1::2])
    ends = np.sort(rng.choice(np.arange(1, tokens), turns - shared - 1, replace=False))
    lengths = np.diff(np.concatenate([[0], ends, [tokens]]))
    for turn, length in enumerate(lengths, start=shared):
        around = rng.integers(0, 50_000, length).astype(np.int32)
        spans.append(Span(f"{number}/{turn}/o", SpanKind.OBSERVATION if turn else SpanKind.PROMPT, around))
        spans.append(
            Span(
                f"{number}/{turn}/a",
                SpanKind.ACTION,
                rng.integers(0, 50_000, length).astype(np.int32),
                logprobs=-rng.exponential(1.0, length).astype(np.float32),
                versions=np.zeros(length, np.int32),
                entropies=rng.random(length).astype(np.float32),
            )
        )
        anchor = f"state-{number // GROUP}-{rng.integers(STATES)}"
        earned = {"progress": 0.1} if rng.random() < 0.2 else {}
        played.append(Turn(0, len(spans) - 1, "", rewards=earned, anchor=anchor, valid=bool(rng.random() < 0.95)))
    return Trajectory(
        id=f"t{number}",
        group_id=f"g{number // GROUP}",
        env="bench",
        task_id=f"task-{number // GROUP}",
        split="train",
        seed=number // GROUP,
        member=number % GROUP,
        segments=(Segment(tuple(spans)),),
        turns=tuple(played),
        reward=float(rng.integers(0, 2)),
        status=Status.OK,
        stop_reason=StopReason.COMPLETED,
    )


def with_extras(batch: CreditBatch) -> CreditBatch:
    """Return the batch with what a run would add to it: beliefs in the true answer, baselines, probabilities."""
    belief_T = -torch.rand(batch.turn_T.shape, generator=torch.Generator().manual_seed(0))
    last_T = torch.ones_like(batch.turn_T, dtype=torch.bool)
    last_T[:-1] = batch.turn_T[1:] == 0
    gain_T = torch.cat([belief_T[1:], belief_T[:1]]) - belief_T
    ones_K = torch.ones(batch.turn_K.shape)
    extras = {"baseline_N": 0.5 * torch.ones_like(batch.reward_N), "logprob_K": -ones_K, "squared_K": 0.3 * ones_K}
    return dataclasses.replace(batch, belief_T=belief_T, information_T=gain_T.masked_fill(last_T, torch.nan), **extras)


def best(work: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    """Return the shortest duration of `work`, and what it returned."""
    seconds = []
    for _ in range(max(repeats, 1)):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return min(seconds), result


def show(
    build: float,
    figures: dict[str, float],
    cpu: dict[str, float],
    skipped: dict[str, str],
    options: argparse.Namespace,
) -> None:
    """Print the table, the slowest method first."""
    table = Table(
        title=f"{options.trajectories} trajectories of {options.turns} turns and {options.tokens} sampled tokens, "
        f"{torch.get_num_threads()} threads"
    )
    table.add_column("method")
    for column in ("build s", "assign s", "total s", "of bound", "cpu s"):
        table.add_column(column, justify="right")
    for name, seconds in sorted(figures.items(), key=lambda entry: -entry[1]):
        total = build + seconds
        table.add_row(
            name, f"{build:.3f}", f"{seconds:.3f}", f"{total:.3f}", f"{total / BOUND:.0%}", f"{cpu[name]:.3f}"
        )
    console = Console()
    console.print(table)
    for name, reason in skipped.items():
        console.print(f"{name}: not measured, {reason}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
