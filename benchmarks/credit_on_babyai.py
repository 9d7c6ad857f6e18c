"""Credit methods by what they teach: success on BabyAI in text after the same number of sampled tokens.

    python benchmarks/credit_on_babyai.py [--level GoToLocal] [--steps 30] [--seeds 3] [--methods grpo,gigpo]
        [--held-out 400] [--output runs/credit_on_babyai] [--json FILE] [--markdown FILE]

For each seed one small model is made from nothing and warmed up on the expert's episodes; every method starts from that
very model, on the same tasks. grpo takes `--steps` optimizer steps; each other method stops after the step with which
it has trained on as many sampled tokens as grpo did. Then the policies play the same held-out seeds.

A cell is a method and a seed. Finished cells are kept in the output folder and not run again, and a cell that was
interrupted goes on from its last checkpoint: start the same command again. The default takes about an hour and a half
on two cores. Intervals are 95 % Student t intervals over seeds; "to grpo" is the paired difference of the same seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import time
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from agentrl import load
from agentrl.config import CriticSection, RunConfig, load_run
from agentrl.errors import EnvError
from agentrl.evaluation import EnginePlayer, evaluate
from agentrl.evaluation._statistics import student_quantile
from agentrl.metrics import RunSnapshot, read_metrics
from agentrl.policy.embedded import EmbeddedEngine
from agentrl.rendering import load_renderer
from agentrl.rollout import EpisodeLimits
from agentrl.store import STORE_NAME
from agentrl_trainers.credit import Need, composition
from agentrl_trainers.init_model import environment_texts, init_model
from agentrl_trainers.run import TrainingResult, open_environments, train
from agentrl_trainers.sft import collect_demonstrations, sft

METHODS = "grpo,gigpo,hgpo,empg,turn_gae"
BASELINE = "grpo"
LONGEST = 3
"""No method takes more than this many times the steps of the baseline, however short its episodes become."""


@dataclass(frozen=True)
class Cell:
    """One method and one seed, finished.

    Attributes:
        method, seed: Which.
        success: Share of held-out tasks that were solved.
        tokens: Sampled tokens of the batches trained on.
        steps: Optimizer steps.
        seconds: Wall time of training and evaluation, of the session that finished the cell.
    """

    method: str
    seed: int
    success: float
    tokens: int
    steps: int
    seconds: float


class Budget:
    """An observer that stops a run once it has trained on a number of sampled tokens."""

    def __init__(self, folder: Path, tokens: int | None, stop: asyncio.Event, label: str, console: Console) -> None:
        self._folder, self._tokens, self._stop = folder, tokens, stop
        self._label, self._console = label, console

    def update(self, snapshot: RunSnapshot) -> None:
        """Look at what the run has used so far."""
        used = tokens_trained(self._folder)
        success = "-" if snapshot.success is None else f"{snapshot.success:.0%}"
        of = f" of {self._tokens:,}" if self._tokens else ""
        line = (
            f"{self._label} step {snapshot.step}: success {success}, {used:,}{of} tokens, {snapshot.step_seconds:.1f} s"
        )
        self._console.print(line, markup=False, highlight=False)
        if self._tokens is not None and used >= self._tokens:
            self._stop.set()

    def message(self, text: str) -> None:
        """Print a line of the run."""
        self._console.print(f"{self._label}: {text}", markup=False, highlight=False)


def main() -> None:
    """Run the cells that are missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--level", default="GoToLocal", help="BabyAI level; one with room above the warm start")
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps of grpo, which set the token budget")
    parser.add_argument("--seeds", type=int, default=3, help="seeds, from 0")
    parser.add_argument("--methods", default=METHODS, help="credit methods, separated by commas; grpo is always run")
    parser.add_argument("--held-out", type=int, default=400, help="held-out tasks per evaluation")
    parser.add_argument("--demonstrations", type=int, default=500, help="expert episodes of the warm start")
    parser.add_argument("--output", type=Path, default=Path("runs/credit_on_babyai"), help="folder of models and runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    options = parser.parse_args()
    disable_progress_bar()
    names = [name.strip() for name in options.methods.split(",") if name.strip()]
    methods = [BASELINE, *(name for name in dict.fromkeys(names) if name != BASELINE)]

    console = Console(soft_wrap=True)
    # Another budget or level is another comparison, and its cells must not be taken for this one's.
    folder = options.output / f"{options.level}-{options.steps}-steps-{options.demonstrations}-demonstrations"
    warm: dict[int, float] = {}
    cells: list[Cell] = []
    for seed in range(options.seeds):
        place = folder / f"seed-{seed}"
        config = configuration(options, place, seed)
        warm[seed] = warm_start(config, place, options.held_out, console)
        budget: int | None = None
        for method in methods:
            cell = run_cell(config, place / method, method, budget, options.held_out, console)
            cells.append(cell)
            if method == BASELINE:
                budget = cell.tokens
    rows = summarise(methods, cells, warm)
    show(rows, options, console)
    if options.markdown:
        options.markdown.write_text(markdown(rows), encoding="utf-8")
    if options.json:
        chosen = {name: str(value) for name, value in vars(options).items()}
        document = {"options": chosen, "warm_start": warm, "cells": [asdict(cell) for cell in cells], "methods": rows}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def configuration(options: argparse.Namespace, place: Path, seed: int) -> RunConfig:
    """Return the quickstart's run file on the chosen level, from the warm start of this seed."""
    changes = {
        "seed": str(seed),
        "steps": str(options.steps),
        "model": str(place / "warm"),
        "sft.episodes": str(options.demonstrations),
        "checkpoint.every": "5",
        "track.tensorboard": "false",
    }
    with as_file(files("agentrl_trainers.quickstart") / "babyai.toml") as run_file:
        config = load_run(run_file, changes)
    section = config.env[0]
    return config.model_copy(update={"env": (section.model_copy(update={"args": {"level": options.level}}),)})


def warm_start(config: RunConfig, place: Path, held_out: int, console: Console) -> float:
    """Make the model that all methods of a seed start from, unless it is there; return its success."""
    result = place / "warm.json"
    if result.is_file():
        return float(json.loads(result.read_text(encoding="utf-8"))["success"])
    base = config.model_copy(update={"model": place / "base"})
    asyncio.run(_make_base(base))
    demonstrations = asyncio.run(collect_demonstrations(base, open_environments(base)))
    sft(base.model, demonstrations.trajectories, config.sft, seed=config.seed, output=config.model)
    success = asyncio.run(measure(config, config.model, held_out))
    write(result, {"success": success})
    console.print(f"seed {config.seed}: warm start solves {success:.1%}", highlight=False)
    return success


async def _make_base(config: RunConfig) -> None:
    texts: list[str] = []
    for share in open_environments(config):
        turns = config.rollout.max_turns
        texts += await environment_texts(share.factory, 200, split=share.split, max_turns=turns, seed=config.seed)
    init_model(
        config.model,
        texts,
        hidden=128,
        layers=4,
        heads=4,
        kv_heads=2,
        vocab_size=1024,
        template="text",
        seed=config.seed,
        overwrite=True,
    )


def run_cell(config: RunConfig, place: Path, method: str, budget: int | None, held_out: int, console: Console) -> Cell:
    """Train with a method until the budget is used, and evaluate; a finished cell is only read."""
    result = place / "cell.json"
    if result.is_file():
        return Cell(**json.loads(result.read_text(encoding="utf-8")))
    began = time.monotonic()
    changes: dict[str, Any] = {"credit": method}
    if Need.CRITIC in composition(method).needs:
        # A head on the policy, fast enough for some tens of steps; the policy waits until values mean something.
        changes["critic"] = CriticSection(kind="head", lr=1e-3, warmup_steps=min(2, config.steps - 1))
    trainer = config.trainer.model_copy(update=changes)
    steps = config.steps if budget is None else config.steps * LONGEST
    config = config.model_copy(update={"output": place, "trainer": trainer, "steps": steps})
    trained = asyncio.run(_train(config, budget, f"seed {config.seed} {method}", console))
    success = asyncio.run(measure(config, trained.model, held_out))
    cell = Cell(method, config.seed, success, tokens_trained(place), trained.steps, time.monotonic() - began)
    write(result, asdict(cell))
    console.print(f"seed {config.seed} {method}: {success:.1%} after {cell.tokens:,} tokens", highlight=False)
    return cell


async def _train(config: RunConfig, budget: int | None, label: str, console: Console) -> TrainingResult:
    stop = asyncio.Event()
    resume = (config.output / STORE_NAME).is_file()
    if budget is not None and tokens_trained(config.output) >= budget:
        # Killed between the last step and its evaluation: nothing is left to train.
        stop.set()
    return await train(config, resume=resume, observer=Budget(config.output, budget, stop, label, console), stop=stop)


async def measure(config: RunConfig, model: Path, held_out: int) -> float:
    """Return the success of a policy on held-out tasks."""
    section = config.env[0]
    engine = EmbeddedEngine.from_folder(model, slots=64, max_context=config.rollout.max_context)
    try:
        player = EnginePlayer(engine, load_renderer(model), config.eval.temperature)
        report = await evaluate(
            load(section.id, **section.args),
            player,
            split=config.eval.split,
            limit=held_out,
            limits=EpisodeLimits.of(config.rollout),
            in_flight=128,
        )
    finally:
        await engine.close()
    if report.success is None:
        raise EnvError(f"no episode of {section.id} was scored: {report.errors}")
    return report.success.mean


def tokens_trained(folder: Path) -> int:
    """Return the sampled tokens of all batches that a run has trained on."""
    return sum(int(row["train/tokens_total"]) for row in read_metrics(folder)) if folder.is_dir() else 0


def summarise(methods: list[str], cells: list[Cell], warm: dict[int, float]) -> list[dict[str, Any]]:
    """Return one row per method, the warm start first: mean, interval over seeds, paired difference to grpo."""
    by_place = {(cell.method, cell.seed): cell for cell in cells}
    baseline = [by_place[BASELINE, seed].success for seed in warm]
    rows = [_row("warm start", list(warm.values()), baseline, [])]
    for method in methods:
        of_method = [by_place[method, seed] for seed in warm]
        rows.append(_row(method, [cell.success for cell in of_method], baseline, of_method))
    return rows


def _row(name: str, successes: list[float], baseline: list[float], cells: list[Cell]) -> dict[str, Any]:
    differences = [one - other for one, other in zip(successes, baseline, strict=True)]
    return {
        "method": name,
        "by_seed": successes,
        "success": _over_seeds(successes),
        "to_grpo": _over_seeds(differences),
        "tokens": sum(cell.tokens for cell in cells) // max(len(cells), 1),
        "steps": sum(cell.steps for cell in cells) / max(len(cells), 1),
        "seconds": sum(cell.seconds for cell in cells) / max(len(cells), 1),
    }


def _over_seeds(values: list[float]) -> tuple[float, float | None, float | None]:
    """Return mean and Student t interval of one value per seed; one seed has no interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None, None
    half = student_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _percent(values: tuple[float, float | None, float | None], sign: str = "") -> str:
    mean, low, high = values
    interval = "" if low is None or high is None else f" [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"
    return f"{100 * mean:{sign}.1f}{interval}"


def _cells_of(row: dict[str, Any]) -> list[str]:
    trained = row["steps"] > 0
    return [
        row["method"],
        _percent(row["success"]),
        _percent(row["to_grpo"], "+") if row["method"] != BASELINE else "",
        " ".join(f"{100 * value:.1f}" for value in row["by_seed"]),
        f"{row['tokens']:,}" if trained else "",
        f"{row['steps']:.0f}" if trained else "",
        f"{row['seconds']:.0f}" if trained else "",
    ]


COLUMNS = ("method", "success %", "to grpo", "by seed", "tokens", "steps", "seconds")


def show(rows: list[dict[str, Any]], options: argparse.Namespace, console: Console) -> None:
    """Print the table."""
    title = (
        f"BabyAI {options.level}, {options.seeds} seeds, {options.held_out} held-out tasks, 95 % intervals over seeds"
    )
    table = Table(title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        table.add_row(*_cells_of(row))
    console.print(table)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join(['---'] + ['---:'] * (len(COLUMNS) - 1))} |"]
    lines += [f"| {' | '.join(_cells_of(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file whole or not at all: a cell counts as finished by its being there."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    main()
