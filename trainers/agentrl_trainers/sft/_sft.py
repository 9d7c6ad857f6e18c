"""Supervised warm start on expert trajectories. Axis legend: K = action tokens of a batch, M = of a micro-batch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from agentrl.config import SftSection
from agentrl.errors import ConfigError
from agentrl.trajectory import Trajectory
from agentrl_trainers.learner import (
    PolicyModel,
    Row,
    load_model,
    make_optimizer,
    make_rows,
    pack,
    set_lr,
    whole_folder,
    write_model,
)

MAX_GRAD_NORM = 1.0
WARMUP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class SftProgress:
    """After one optimizer step: steps done and planned, mean loss per action token in nats, context tokens a second."""

    step: int
    steps: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class SftReport:
    """What a warm start did.

    Attributes:
        model: Folder of the trained model.
        steps: Optimizer steps.
        first_loss, last_loss: Mean loss per action token in nats, first and last step.
        action_tokens: Tokens with loss, over all epochs.
        context_tokens: Tokens computed, over all epochs, no padding.
        tokens_per_second: Context tokens by second.
        seconds: Duration, without saving.
    """

    model: Path
    steps: int
    first_loss: float
    last_loss: float
    action_tokens: int
    context_tokens: int
    tokens_per_second: float
    seconds: float


def sft(
    model_folder: Path,
    trajectories: Sequence[Trajectory],
    section: SftSection,
    *,
    seed: int,
    output: Path,
    progress: Callable[[SftProgress], None] | None = None,
    token_budget: int = 8192,
    threads: int = 0,
    device: torch.device | str = "cpu",
) -> SftReport:
    """Train a model to act as trajectories do, and write it to `output`.

    Cross-entropy on action tokens only, mean over the action tokens of a batch of episodes; AdamW with linear warm-up
    over the first tenth of the steps, then linear decay to 0; gradient clipped at norm 1. The order of episodes is
    drawn from the seed.

    Args:
        model_folder: Where to start from.
        trajectories: Expert episodes.
        section: `[sft]` of the run file: epochs, batch, lr.
        seed: Seed of the order of episodes.
        output: Model folder to write, tokenizer included; appears whole or not at all, and may be `model_folder`.
        progress: Called after every optimizer step.
        token_budget: Tokens of a micro-batch, padding included.
        threads: CPU threads; 0 = all cores, since nothing runs beside it.
        device: Where to train.

    Raises:
        ConfigError: The model cannot be loaded, there is nothing to imitate, or the loss is no longer finite.
        StoreError: `output` cannot be written.
    """
    if torch.device(device).type == "cpu":
        torch.set_num_threads(threads or os.cpu_count() or 1)
    episodes = [_rows(trajectory) for trajectory in trajectories if trajectory.sampled_tokens()]
    if not episodes:
        raise ConfigError(f"none of the {len(trajectories)} trajectories has an action token to imitate")
    policy = PolicyModel(load_model(model_folder, device))
    optimizer = make_optimizer(policy.module, section.lr, weight_decay=0.0)
    steps = section.epochs * -(-len(episodes) // section.batch)
    started = time.perf_counter()
    losses: list[float] = []
    action_tokens = context_tokens = 0
    for epoch in range(section.epochs):
        order = np.random.default_rng([seed & 0xFFFFFFFF, epoch]).permutation(len(episodes))
        for start in range(0, len(order), section.batch):
            batch = [episodes[index] for index in order[start : start + section.batch]]
            set_lr(optimizer, section.lr * _schedule(len(losses), steps))
            loss, computed = _step(policy, optimizer, batch, token_budget)
            losses.append(loss)
            action_tokens += sum(map(_action_tokens, batch))
            context_tokens += computed
            if progress is not None:
                rate = context_tokens / (time.perf_counter() - started)
                progress(SftProgress(len(losses), steps, loss, rate))
    seconds = time.perf_counter() - started
    with whole_folder(output) as temporary:
        write_model(policy.module, temporary, model_folder)
    return SftReport(
        model=output,
        steps=len(losses),
        first_loss=losses[0],
        last_loss=losses[-1],
        action_tokens=action_tokens,
        context_tokens=context_tokens,
        tokens_per_second=context_tokens / seconds,
        seconds=seconds,
    )


def _rows(trajectory: Trajectory) -> list[Row]:
    """Return the rows of an episode; credit means nothing here, each action token has the same loss."""
    return make_rows([trajectory], torch.zeros(trajectory.sampled_tokens()))


def _action_tokens(episode: Sequence[Row]) -> int:
    return sum(len(row.position_K) for row in episode)


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step from 0: up over the first tenth, then down to 0."""
    warmup = max(1, round(steps * WARMUP_SHARE))
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup + 1))


def _step(
    policy: PolicyModel, optimizer: torch.optim.Optimizer, batch: Sequence[list[Row]], token_budget: int
) -> tuple[float, int]:
    """Take one optimizer step; return the loss and the number of context tokens computed."""
    rows = [row for episode in batch for row in episode]
    count = _action_tokens(rows)
    optimizer.zero_grad(set_to_none=True)
    loss = torch.zeros((), device=policy.device)
    computed = 0
    for packed in pack(rows, token_budget):
        logprob_M, _ = policy.logprobs(packed.to(policy.device), temperature=1.0)
        share = -logprob_M.sum() / count
        torch.autograd.backward(share)
        loss += share.detach()
        computed += packed.real_tokens
    norm = torch.nn.utils.clip_grad_norm_(policy.module.parameters(), MAX_GRAD_NORM)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise ConfigError(
            f"warm start: loss {float(loss)}, gradient norm {float(norm)}; lower sft.lr, or check that the model's own "
            "weights are finite"
        )
    optimizer.step()
    return float(loss), computed
