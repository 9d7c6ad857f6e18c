"""An objective with the options of a run, as the learner calls it. K = sampled tokens."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.objectives._aggregate import Aggregation
from agentrl_trainers.objectives._llds import likelihood_preserving
from agentrl_trainers.objectives._mismatch import correction_weights
from agentrl_trainers.objectives._rejection import Criterion, rejection_mask
from agentrl_trainers.objectives._sequences import need_sequences
from agentrl_trainers.objectives._table import OBJECTIVES, ObjectiveMethod, keywords
from agentrl_trainers.objectives._token_loss import TokenLoss
from agentrl_trainers.objectives._whole_batch import WholeBatch

Mismatch = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]]
"""`f(proximal_K, behaviour_K, sequence_K) -> (weight_K, filtered_K)`."""


@dataclass(frozen=True)
class BoundObjective:
    """An objective with its options.

    Attributes:
        method: Of the table.
        options: Of the method and its preparation.
        mismatch: Correction between engine and trainer, or None.
        likelihood_preserving: λ of LLDS, added to every objective's losses; 0 = off. Its unit is the row.
    """

    method: ObjectiveMethod
    options: Mapping[str, Any] = field(default_factory=dict)
    mismatch: Mismatch | None = None
    likelihood_preserving: float = 0.0

    @property
    def aggregation(self) -> Aggregation:
        """The authors' aggregation."""
        return self.method.aggregation

    @property
    def everywhere(self) -> bool:
        """Whether tokens without advantage have a gradient, too."""
        return self.method.everywhere or self.likelihood_preserving > 0

    def old(self, proximal_K: torch.Tensor, behaviour_K: torch.Tensor) -> torch.Tensor:
        """Return the log-probs that the ratio is taken against.

        It is the behaviour policy itself ("bypass mode"): one ratio covers staleness, numerics and the update. With a
        `mismatch` correction it is the proximal policy, since the correction covers the rest already.
        """
        return behaviour_K if self.mismatch is None else proximal_K

    def prepare(self, batch: WholeBatch) -> dict[str, Any]:
        """Return what the calls on parts of this batch need to be given; empty where the method needs nothing."""
        if self.method.preparation is None:
            return {}
        function = self.method.preparation.function
        return function(batch, **_chosen(function, self.options))

    def __call__(
        self,
        logprob_K: torch.Tensor,
        proximal_K: torch.Tensor,
        behaviour_K: torch.Tensor,
        advantage_K: torch.Tensor,
        *,
        sequence_K: torch.Tensor | None = None,
        prepared: Mapping[str, Any] | None = None,
    ) -> TokenLoss:
        """Return the loss of each token.

        Args:
            logprob_K: Under the weights being trained, with gradient.
            proximal_K: Under the weights at the start of the update.
            behaviour_K: Under the weights that sampled the token, as the engine reported it.
            advantage_K: From credit.
            sequence_K: Row of each token (int64, from 0).
            prepared: From `prepare`, with values per token cut to these tokens.
        """
        function = self.method.function
        options = _chosen(function, self.options) | dict(prepared or {})
        if "sequence_K" in keywords(function):
            options["sequence_K"] = sequence_K
        old_K = self.old(proximal_K, behaviour_K)
        if self.method.policies == "both":
            result = function(logprob_K, proximal_K, behaviour_K, advantage_K, **options)
        else:
            result = function(logprob_K, old_K, advantage_K, **options)
        if self.mismatch is not None:
            result = result.weighted(*self.mismatch(proximal_K, behaviour_K, sequence_K))
        if self.likelihood_preserving:
            kept_K = likelihood_preserving(
                logprob_K,
                old_K,
                advantage_K,
                unit_K=need_sequences(sequence_K, "likelihood_preserving"),
                coefficient=self.likelihood_preserving,
            )
            result = dataclasses.replace(result, loss_K=result.loss_K + kept_K)
        return result


def objective(
    name: str,
    shared: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    mismatch: str = "none",
    mismatch_options: Mapping[str, Any] | None = None,
) -> BoundObjective:
    """Return an objective with its options bound, tried once on two tokens.

    Args:
        name: Key of `OBJECTIVES`.
        shared: Fields of `[trainer]`; an objective takes those of its own (`ObjectiveMethod.shared`).
        options: Of the objective; defaults are its authors'. Every objective takes `likelihood_preserving`, the λ of
            LLDS.
        mismatch: "none", "tis", "icepop" or "mis"; see `mismatch_correction`.
        mismatch_options: Options of the correction.

    Raises:
        ConfigError: An unknown name or option (the message has the nearest), a value that does not fit, or a correction
            on top of an objective that corrects by itself.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"trainer.objective = {name!r}: no such objective{_nearest(name, OBJECTIVES)}")
    method = OBJECTIVES[name]
    given = dict(options or {})
    preserving = given.pop("likelihood_preserving", 0.0)
    _check_known(f"trainer.objective_options of {name!r}", given, method.options())
    if mismatch != "none" and method.policies != "either":
        raise ConfigError(
            f"trainer.mismatch = {mismatch!r} with trainer.objective = {name!r}: this objective weighs tokens by the "
            "behaviour policy itself, so the gap would count twice; leave mismatch out, or choose another objective"
        )
    taken = {key: value for key, value in (shared or {}).items() if key in method.shared}
    correction = mismatch_correction(mismatch, mismatch_options or {})
    try:
        bound = BoundObjective(method, taken | given, correction, float(preserving))
        _try(bound)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ConfigError(f"trainer.objective_options of {name!r} do not fit: {error}") from error
    return bound


def mismatch_correction(name: str, options: Mapping[str, Any]) -> Mismatch | None:
    """Return a correction by its name in the run file, or None for "none".

    "tis": weights exp(proximal − behaviour) truncated at `upper` (2), by `level` ("token"). "icepop": the same, dropped
    outside [`lower`, `upper`] = [.5, 5]. "mis": no weight, but tokens or rows beyond the bounds of `criteria` are
    dropped: by default rows whose geometric mean ratio is outside [.5, 2], `criteria` "seq_mean_k1" with `bounds`
    "0.5_2" (the choice of default is ours).

    Raises:
        ConfigError: Unknown name, option or criterion.
    """
    known = {
        "none": (),
        "tis": ("level", "upper"),
        "icepop": ("level", "lower", "upper"),
        "mis": ("criteria", "bounds"),
    }
    if name not in known:
        raise ConfigError(f"trainer.mismatch = {name!r}: no such correction{_nearest(name, known)}")
    _check_known(f"trainer.mismatch_options of {name!r}", options, known[name])
    if name == "none":
        return None
    if name == "mis":
        criteria = Criterion.parse(str(options.get("criteria", "seq_mean_k1")), str(options.get("bounds", "0.5_2")))

        def masks(
            proximal_K: torch.Tensor, behaviour_K: torch.Tensor, sequence_K: torch.Tensor | None
        ) -> tuple[torch.Tensor, torch.Tensor]:
            rows_K = need_sequences(sequence_K, 'mismatch "mis"')
            keep_K = rejection_mask(proximal_K, behaviour_K, rows_K, criteria)
            return keep_K.to(behaviour_K.dtype), ~keep_K

        return masks
    bounds = {"lower": 0.5, "upper": 5.0} if name == "icepop" else {}

    def weights(
        proximal_K: torch.Tensor, behaviour_K: torch.Tensor, sequence_K: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        correction = correction_weights(proximal_K, behaviour_K, sequence_K=sequence_K, **(bounds | dict(options)))
        return correction.weight_K, correction.outside_K

    return weights


def _try(bound: BoundObjective) -> None:
    """Call everything once, so that a value of the wrong kind is found before any episode."""
    values_K = torch.tensor([-1.0, -2.0])
    rows_K = torch.tensor([0, 1])
    batch = WholeBatch(values_K, values_K, values_K + 1.5, rows_K, 0 * rows_K, torch.Generator())
    prepared = bound.prepare(batch)
    bound(values_K, values_K, values_K, values_K + 1.5, sequence_K=rows_K, prepared=prepared)


def _chosen(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in keywords(function) if name in options}


def _check_known(where: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    for option in given:
        if option not in known:
            raise ConfigError(f"{where}: no option {option!r}{_nearest(option, known)}")


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Known: {', '.join(sorted(known)) or 'none'}"
