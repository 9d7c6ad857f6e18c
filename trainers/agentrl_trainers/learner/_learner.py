"""The learner: holds model and optimizer, and turns rows into optimizer updates.

It is blind to the credit method: it sums weighted per-token terms. Axis legend: K = sampled tokens of the batch (rows
one after another), M = sampled tokens of a micro-batch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentrl.config import TrainerSection
from agentrl.errors import ConfigError
from agentrl_trainers.learner._critic import Critic
from agentrl_trainers.learner._flat import FlatBatch
from agentrl_trainers.learner._model import PolicyModel, load_model
from agentrl_trainers.learner._optimizer import make_optimizer, set_lr
from agentrl_trainers.learner._pack import MicroBatch, pack
from agentrl_trainers.learner._prepare import part, prepare
from agentrl_trainers.learner._report import StepReport, TrainingDivergedError
from agentrl_trainers.learner._rows import Row
from agentrl_trainers.learner._tally import Tally
from agentrl_trainers.objectives import (
    Aggregation,
    Denominators,
    aggregation_of,
    aggregation_weights,
    objective_of,
)

BAD_UPDATES_IN_A_ROW = 3
"""Updates with a loss or gradient that is not finite before the run is stopped."""


class Learner:
    """Trains one model on rows with credit.

    The proximal policy is the weights at the start of a step. With one update per step its log-probs are those of the
    very forward pass that is trained on; with several (`minibatches`) they are computed first, for the whole batch.
    Objectives that need figures of the whole batch get them from a forward pass more, before each update. Sequences of
    sequence-level objectives are rows: one context window each. Tokens beyond the staleness bound, and rows that the
    forward pass skips because nothing in them has credit, stay in the denominators of the loss.

    Attributes:
        model_folder: Where the model was first loaded from; its tokenizer goes into checkpoints.
        policy: The model.
        optimizer: AdamW, betas (0.9, 0.95).
        critic: What estimates values, where the run file has one.
        step: Training steps taken.
        version: Policy version of the weights: whoever publishes them sets it, and ages are counted from it.
        threads: CPU threads of the trainer.
    """

    def __init__(
        self,
        model_folder: Path,
        section: TrainerSection,
        *,
        seed: int = 0,
        staleness: int = 0,
        temperature: float = 1.0,
        aggregation: Aggregation | None = None,
        value_heads: int = 1,
        total_steps: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Load a model.

        Args:
            model_folder: Model in transformers form.
            section: `[trainer]` of the run file.
            seed: Seed of the split into minibatches; each step draws from (seed, step).
            staleness: Versions that a token may be old; older ones are masked and counted.
            temperature: Sampling temperature of the rollouts; log-probs are taken at it.
            aggregation: From token losses to one number; None = as the run file or the objective has it.
            value_heads: Values per token that the critic gives, if the run file has one; 0 = nothing asks for them.
            total_steps: Steps of the whole run, for a learning rate that decays.
            device: Where to train.

        Raises:
            ConfigError: The model cannot be loaded, the objective or its options do not fit, or the temperature is 0.
        """
        if temperature <= 0:
            raise ConfigError(f"rollout.temperature = {temperature}: log-probs need a temperature above 0")
        if section.lr_decay != "none" and not total_steps:
            raise ConfigError(f"trainer.lr_decay = {section.lr_decay!r} needs the number of steps of the whole run")
        self._objective = objective_of(section)
        self.model_folder = model_folder
        self.policy = PolicyModel(load_model(model_folder, device))
        self.optimizer = make_optimizer(self.policy.module, section.lr, section.weight_decay)
        self.critic: Critic | None = None
        if section.critic.kind != "none" and value_heads:
            decay = section.weight_decay
            self.critic = Critic(section.critic, self.policy, model_folder, heads=value_heads, weight_decay=decay)
        self.step = 0
        self.version = 0
        self.threads = section.threads or max(1, (os.cpu_count() or 2) // 2)
        self._section = section
        self._total_steps = total_steps
        self._seed = seed
        self._staleness = staleness
        self._temperature = temperature
        self._aggregation: Aggregation = aggregation or aggregation_of(section, self._objective)
        self._bad_updates = 0

    def train_step(self, rows: Sequence[Row]) -> StepReport:
        """Take one training step, one optimizer update per minibatch, on a global batch.

        The number of torch threads is set on the thread that calls, so an engine in another thread keeps its own.

        Raises:
            ValueError: A token is from a version newer than `self.version`.
            TrainingDivergedError: Loss or gradient were not finite for the third update in a row.
        """
        started = time.perf_counter()
        self._use_threads()
        lr = self._section.lr * self._lr_share()
        set_lr(self.optimizer, lr)
        batch = FlatBatch.of(
            rows,
            version=self.version,
            staleness=self._staleness,
            skip_rows=self._section.entropy_bonus == 0 and not self._objective.everywhere,
            device=self.policy.device,
        )
        parts = batch.parts(self._section.minibatches, np.random.default_rng([self._seed & 0xFFFFFFFF, self.step]))
        proximal_K = self.logprobs(rows, batch.active_K)[0] if len(parts) > 1 else None
        tally = Tally()
        warming = self._warming()
        for part_K in parts:
            self._update(rows, batch, part_K, proximal_K, tally)
        self.step += 1
        return tally.report(batch, step=self.step, lr=lr, warmup=warming, seconds=time.perf_counter() - started)

    def logprobs(
        self, rows: Sequence[Row], keep_K: npt.NDArray[np.bool_] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-prob and entropy of every sampled token of the rows under the present weights, two times [K].

        Args:
            rows: What to score.
            keep_K: Tokens that are wanted; the others are 0.
        """

        def read(micro: MicroBatch) -> torch.Tensor:
            return torch.stack(self.policy.logprobs(micro, self._temperature), dim=-1)

        logprob_K, entropy_K = self._read(rows, read, 2, keep_K).unbind(-1)
        return logprob_K, entropy_K

    def values(self, rows: Sequence[Row]) -> torch.Tensor:
        """Return the critic's values of the states before all sampled tokens of the rows [K, H].

        Raises:
            ConfigError: The run has no critic.
        """
        critic = self.critic
        if critic is None:
            raise ConfigError('values need a critic: set `[trainer.critic] kind` to "head" or "model"')

        def read(micro: MicroBatch) -> torch.Tensor:
            return critic.values(micro, self.policy.hidden(micro) if critic.reads_policy else None)

        return self._read(rows, read, critic.heads)

    def squares(self, rows: Sequence[Row]) -> torch.Tensor:
        """Return the sum of the squared probabilities of all tokens, before all sampled tokens of the rows [K]."""
        return self._read(rows, lambda micro: self.policy.squares(micro, self._temperature)[:, None], 1)[:, 0]

    @torch.no_grad()
    def _read(
        self,
        rows: Sequence[Row],
        read: Callable[[MicroBatch], torch.Tensor],
        columns: int,
        keep_K: npt.NDArray[np.bool_] | None = None,
    ) -> torch.Tensor:
        """Return what `read` gives for the tokens of each micro-batch, in the order of rows [K, columns]."""
        self._use_threads()
        found = torch.zeros(sum(len(row.position_K) for row in rows), columns, device=self.policy.device)
        for packed in pack(rows, self._section.token_budget, keep_K):
            micro = packed.to(self.policy.device)
            found[micro.flat_M] = read(micro)
        return found

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of all weights by name, to be published; training goes on without changing it."""
        copies: dict[int, torch.Tensor] = {}
        named = {}
        for name, tensor in self.policy.module.state_dict().items():
            named[name] = copies.setdefault(tensor.data_ptr(), tensor.detach().clone())
        return named

    def _update(
        self,
        rows: Sequence[Row],
        batch: FlatBatch,
        part_K: npt.NDArray[np.bool_],
        proximal_K: torch.Tensor | None,
        tally: Tally,
    ) -> None:
        """Accumulate the gradient of one minibatch over its micro-batches and update the weights."""
        micros = pack(rows, self._section.token_budget, batch.active_K & part_K)
        if not micros:
            tally.skip("no token within the staleness bound has an advantage")
            return
        denominators = Denominators.of(batch.sequence_K[torch.from_numpy(part_K)])
        weight_K = aggregation_weights(self._aggregation, batch.sequence_K, denominators).to(self.policy.device)
        prepared = self._prepare(rows, batch, part_K, proximal_K)
        value_weight = 0.0
        if batch.lesson is not None:
            value_weight = 1 / max(1, int(batch.lesson.target_KH[torch.from_numpy(batch.active_K & part_K)].sum()))
        loss = torch.zeros((), device=self.policy.device)
        for packed in micros:
            loss += self._accumulate(packed, batch, weight_K, proximal_K, prepared, value_weight, tally)
        parameters = self.policy.module.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._section.max_grad_norm)
        critic_parameters = [] if self.critic is None else list(self.critic.module.parameters())
        critic_norm = torch.nn.utils.clip_grad_norm_(critic_parameters, self._section.max_grad_norm)
        if torch.isfinite(loss) and torch.isfinite(norm + critic_norm):
            self._bad_updates = 0
            # Weights without a gradient stay: the policy's while only the critic learns.
            self.optimizer.step()
            if self.critic is not None:
                self.critic.optimizer.step()
            tally.updated(float(loss), float(norm), float(critic_norm))
        else:
            self._bad_updates += 1
            tally.skip(f"loss {float(loss)} or gradient norm {float(norm + critic_norm)} is not finite")
        self.optimizer.zero_grad(set_to_none=True)
        if self.critic is not None:
            self.critic.optimizer.zero_grad(set_to_none=True)
        if self._bad_updates >= BAD_UPDATES_IN_A_ROW:
            raise TrainingDivergedError(
                f"training step {self.step + 1}: loss {float(loss)}, gradient norm {float(norm)}; {self._bad_updates} "
                f"updates in a row were not finite. The weights are those of the last good update. Look at "
                f"importance_max, kl_behaviour_max and fresh_gap_max of the steps before (metrics.jsonl): lower "
                f"trainer.lr (now {self._section.lr:g}) or trainer.max_grad_norm, then go on with --resume"
            )

    def _prepare(
        self,
        rows: Sequence[Row],
        batch: FlatBatch,
        part_K: npt.NDArray[np.bool_],
        proximal_K: torch.Tensor | None,
    ) -> dict[str, Any]:
        """Return what the objective needs to know of all tokens of the update, or of the step where it needs groups."""
        preparation = self._objective.method.preparation
        if preparation is None:
            return {}
        chosen_K = batch.active_K if preparation.groups else batch.active_K & part_K
        logprob_K = self.logprobs(rows, chosen_K)[0] if preparation.forward else torch.zeros_like(batch.behaviour_K)
        return prepare(
            self._objective,
            batch,
            chosen_K,
            logprob_K,
            logprob_K if proximal_K is None else proximal_K,
            (self._seed & 0xFFFFFFFF, self.step, int(np.flatnonzero(part_K)[0])),
        )

    def _accumulate(
        self,
        packed: MicroBatch,
        batch: FlatBatch,
        weight_K: torch.Tensor,
        proximal_K: torch.Tensor | None,
        prepared: dict[str, Any],
        value_weight: float,
        tally: Tally,
    ) -> torch.Tensor:
        """Run one micro-batch forward and backward; return its share of the loss."""
        micro = packed.to(self.policy.device)
        bonus = self._section.entropy_bonus
        with torch.set_grad_enabled(not self._warming()):
            logprob_M, entropy_M, hidden_MD = self.policy.read(micro, self._temperature, entropy_gradient=bonus > 0)
        proximal_M = logprob_M.detach() if proximal_K is None else proximal_K[micro.flat_M]
        behaviour_M = batch.behaviour_K[micro.flat_M]
        advantage_M = batch.advantage_K[micro.flat_M]
        result = self._objective(
            logprob_M,
            proximal_M,
            behaviour_M,
            advantage_M,
            sequence_K=micro.row_M,
            prepared=part(prepared, micro.flat_M),
        )
        terms_M = result.loss_K - bonus * entropy_M if bonus else result.loss_K
        loss = (weight_K[micro.flat_M] * terms_M).sum()
        if self.critic is not None and batch.lesson is not None:
            trunk = 0.0 if self._warming() else self.critic.section.trunk
            value_C, return_C, value = self.critic.lesson(micro, hidden_MD, batch.lesson, trunk=trunk)
            loss = (0.0 if self._warming() else loss) + value.loss_K.sum() * value_weight
            tally.add_values(value_C, return_C, value)
        if loss.requires_grad:
            torch.autograd.backward(loss)
        own_M = torch.from_numpy(batch.age_K[packed.flat_M.numpy()] == 0).to(self.policy.device)
        tally.add(micro, logprob_M.detach(), proximal_M, behaviour_M, entropy_M.detach(), result, own_M)
        return loss.detach()

    def _lr_share(self) -> float:
        """Return the share of the learning rate for the step to come: up over the warm-up, then down if it decays."""
        share = min(1.0, (self.step + 1) / max(1, self._section.warmup_steps))
        if self._section.lr_decay == "linear" and self._total_steps:
            share *= max(0.0, 1.0 - self.step / self._total_steps)
        return share

    def _warming(self) -> bool:
        """Whether only the critic learns."""
        return self.critic is not None and self.step < self.critic.section.warmup_steps

    def _use_threads(self) -> None:
        if self.policy.device.type == "cpu" and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
