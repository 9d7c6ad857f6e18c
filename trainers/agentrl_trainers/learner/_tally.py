"""Counts what happens during a training step. Axis legend: M = sampled tokens of a micro-batch."""

from __future__ import annotations

import torch

from agentrl_trainers.learner._flat import FlatBatch
from agentrl_trainers.learner._pack import MicroBatch
from agentrl_trainers.learner._report import StepReport
from agentrl_trainers.objectives import TokenLoss, ValueLoss, kl


class Tally:
    """Sums and maxima over the micro-batches of a step; they stay on the device until the report is made."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._largest: dict[str, torch.Tensor] = {}
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._skipped: list[str] = []
        self._values: torch.Tensor | None = None
        self._critic_norms: list[float] = []
        self._tokens = 0
        self._micro_batches = 0
        self._context_tokens = 0
        self._computed_tokens = 0

    @torch.no_grad()
    def add(
        self,
        micro: MicroBatch,
        logprob_M: torch.Tensor,
        proximal_M: torch.Tensor,
        behaviour_M: torch.Tensor,
        entropy_M: torch.Tensor,
        result: TokenLoss,
        own_M: torch.Tensor,
    ) -> None:
        """Count the tokens of one micro-batch; `own_M` marks those that the trainer's own version sampled."""
        behaviour_kl_M = kl(behaviour_M, logprob_M, "k3")
        proximal_kl_M = kl(proximal_M, logprob_M, "k3")
        means = {
            "entropy": entropy_M,
            "kl_behaviour": behaviour_kl_M,
            "kl_proximal": proximal_kl_M,
            "clip_fraction": result.clipped_K,
            "dual_clip_fraction": result.dual_clipped_K,
            "importance": result.importance_K,
            "filtered_fraction": result.filtered_K,
        }
        for name, values_M in means.items():
            self._sums[name] = values_M.double().sum() + self._sums.get(name, 0.0)
        largest = {
            "kl_behaviour_max": behaviour_kl_M,
            "kl_proximal_max": proximal_kl_M,
            "importance_max": result.importance_K,
            # Before the first update the trainer's weights are still those of its version.
            "fresh_gap_max": (proximal_M - behaviour_M).abs() * own_M,
        }
        for name, values_M in largest.items():
            peak = values_M.max()
            self._largest[name] = torch.maximum(peak, self._largest[name]) if name in self._largest else peak
        self._tokens += len(logprob_M)
        self._micro_batches += 1
        self._context_tokens += micro.real_tokens
        self._computed_tokens += micro.tokens_BL.numel()

    @torch.no_grad()
    def add_values(self, value_C: torch.Tensor, return_C: torch.Tensor, result: ValueLoss) -> None:
        """Count the value targets of one micro-batch."""
        error_C = (return_C - value_C).double()
        wanted_C = return_C.double()
        sums = torch.stack(
            [
                torch.ones_like(error_C).sum(),
                result.loss_K.double().sum(),
                result.clipped_K.double().sum(),
                error_C.sum(),
                error_C.square().sum(),
                wanted_C.sum(),
                wanted_C.square().sum(),
            ]
        )
        self._values = sums if self._values is None else self._values + sums

    def updated(self, loss: float, norm: float, critic_norm: float = 0.0) -> None:
        """Count an optimizer update."""
        self._losses.append(loss)
        self._norms.append(norm)
        self._critic_norms.append(critic_norm)

    def skip(self, reason: str) -> None:
        """Count an update that was not made."""
        self._skipped.append(reason)

    def report(self, batch: FlatBatch, *, step: int, lr: float, seconds: float, warmup: bool = False) -> StepReport:
        """Return the figures of the step."""
        total = len(batch)
        masked = int(batch.masked_K.sum())
        fit = batch.age_K[~batch.masked_K]
        return StepReport(
            step=step,
            loss=sum(self._losses) / max(1, len(self._losses)),
            grad_norm=max(self._norms, default=0.0),
            lr=lr,
            staleness=float(fit.mean()) if len(fit) else 0.0,
            staleness_max=int(fit.max()) if len(fit) else 0,
            tokens_total=total,
            tokens_trained=self._tokens,
            tokens_masked=masked,
            tokens_skipped=total - masked - int(batch.active_K.sum()),
            context_tokens=self._context_tokens,
            padding_fraction=1 - self._context_tokens / max(1, self._computed_tokens),
            micro_batches=self._micro_batches,
            updates=len(self._losses),
            updates_skipped=len(self._skipped),
            skipped="; ".join(dict.fromkeys(self._skipped)) or None,
            tokens_per_second=self._context_tokens / max(seconds, 1e-9),
            seconds=seconds,
            critic_warmup=float(warmup),
            critic_grad_norm=max(self._critic_norms, default=0.0),
            value_targets=0 if self._values is None else int(self._values[0]),
            **_value_figures(self._values),
            **{name: float(value) / self._tokens for name, value in self._sums.items()},
            **{name: float(value) for name, value in self._largest.items()},
        )


def _value_figures(sums: torch.Tensor | None) -> dict[str, float]:
    count, loss, clipped, errors, squared_errors, wanted, squared_wanted = [0.0] * 7 if sums is None else sums.tolist()
    if not count:
        return {}
    spread = squared_wanted - wanted**2 / count
    return {
        "value_loss": loss / count,
        "value_clip_fraction": clipped / count,
        # Targets that are all alike have no variance to explain.
        "value_explained": 1 - (squared_errors - errors**2 / count) / spread if spread > 1e-12 * count else 0.0,
    }
