"""Published methods as named compositions: turn rewards → estimator → modulators."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from agentrl.errors import ConfigError
from agentrl_trainers.credit._batch import CreditBatch
from agentrl_trainers.credit._credit import Credit
from agentrl_trainers.credit._needs import Need
from agentrl_trainers.credit._registry import find_outside, outside_names
from agentrl_trainers.credit.estimators import (
    bilevel_gae,
    dr_grpo,
    egae,
    gae,
    gdpo,
    gigpo,
    gpg,
    grpo,
    grpo_passk,
    hgpo,
    hiper_hae,
    igpo,
    igpo_2025,
    max_at_k,
    ngrpo,
    opo,
    optimal_token_baseline,
    poad,
    reinforce_pp,
    remax,
    rloo,
    single_stream,
    turn_gae,
    turn_group,
)
from agentrl_trainers.credit.modulators import (
    d3s,
    dynamic_sampling,
    empg,
    entropy_balance,
    hard_attribution,
    whiten,
)
from agentrl_trainers.credit.turn_rewards import efficiency_discount, information_gain, invalid_actions, overlong

TurnRewards = Callable[..., CreditBatch]
"""`f(batch, *, options) -> batch` with other rewards."""
Estimator = Callable[..., torch.Tensor | Credit]
"""`f(batch, *, options) -> advantage_K`, or a `Credit` where a critic learns from it."""
Modulator = Callable[..., torch.Tensor]
"""`f(batch, advantage_K, *, options) -> advantage_K`."""


@dataclass(frozen=True)
class Composition:
    """A credit method: stages that are pure functions, their options being their keyword arguments.

    Attributes:
        estimator: From rewards to one advantage per sampled token.
        turn_rewards: Stages before it, in order.
        modulators: Stages after it, in order.
        needs: What a run must provide beyond the rewards of groups; see `check`.
        value_heads: Values that the critic has for each token, where the method needs one.
    """

    estimator: Estimator
    turn_rewards: tuple[TurnRewards, ...] = ()
    modulators: tuple[Modulator, ...] = ()
    needs: frozenset[Need] = frozenset()
    value_heads: int = 1

    def options(self) -> set[str]:
        """Return the names of the options that a stage of this method takes."""
        return {name for stage in (*self.turn_rewards, self.estimator, *self.modulators) for name in _keywords(stage)}

    def __call__(self, batch: CreditBatch, **options: Any) -> torch.Tensor:
        """Return the advantages [K] in the batch's own precision; each option goes to every stage that takes it."""
        return self.credit(batch, **options).advantage_K

    def credit(self, batch: CreditBatch, **options: Any) -> Credit:
        """Return the advantages and, for a method with a critic, its value targets, which modulators leave alone."""
        for rewards in self.turn_rewards:
            batch = _bound(rewards, options)(batch)
        found = _bound(self.estimator, options)(batch)
        credit = found if isinstance(found, Credit) else Credit(found)
        advantage_K = credit.advantage_K
        for modulate in self.modulators:
            advantage_K = _bound(modulate, options)(batch, advantage_K)
        return replace(credit, advantage_K=advantage_K)


ANCHORS = frozenset({Need.ANCHORS})
GROUND_TRUTH = frozenset({Need.GROUND_TRUTH})
ENTROPIES = frozenset({Need.ENTROPIES})
CRITIC = frozenset({Need.CRITIC})

COMPOSITIONS: dict[str, Composition] = {
    "grpo": Composition(grpo),
    "dr_grpo": Composition(dr_grpo),
    "rloo": Composition(rloo),
    "reinforce_pp_baseline": Composition(dr_grpo, modulators=(whiten,)),
    "reinforce_pp": Composition(reinforce_pp, modulators=(whiten,)),
    "opo": Composition(opo),
    "ngrpo": Composition(ngrpo),
    "gpg": Composition(gpg),
    "gdpo": Composition(gdpo, modulators=(whiten,)),
    "grpo_passk": Composition(grpo_passk),
    "max_at_k": Composition(max_at_k),
    "remax": Composition(remax, needs=frozenset({Need.GREEDY})),
    "single_stream": Composition(single_stream, needs=frozenset({Need.TRACKER})),
    "optimal_token_baseline": Composition(optimal_token_baseline, needs=frozenset({Need.PROBABILITIES})),
    "dapo": Composition(grpo, (overlong,), (dynamic_sampling,)),
    "d3s": Composition(grpo, modulators=(d3s,), needs=ENTROPIES),
    # Step groups: turns that acted from the same state.
    "gigpo": Composition(gigpo, (invalid_actions,), needs=ANCHORS),
    "gigpo_mean_std": Composition(partial(gigpo, mode="mean_std_norm"), (invalid_actions,), needs=ANCHORS),
    "hgpo": Composition(hgpo, (invalid_actions,), needs=ANCHORS),
    "hgpo_base": Composition(partial(hgpo, base_group=True), (invalid_actions,), needs=ANCHORS),
    # Turn rewards from the policy's own belief in the true answer.
    "igpo": Composition(igpo, (information_gain,), needs=GROUND_TRUTH),
    "igpo_joint": Composition(
        partial(igpo, normalisation="joint"), (partial(information_gain, gain="prob_diff"),), needs=GROUND_TRUTH
    ),
    "igpo_2025": Composition(igpo_2025, (partial(information_gain, gain="prob_diff"),), needs=GROUND_TRUTH),
    # Modulated by how certain the policy was.
    "empg": Composition(grpo, modulators=(empg,), needs=ENTROPIES),
    "empg_dr_grpo": Composition(dr_grpo, modulators=(empg,), needs=ENTROPIES),
    "empg_rloo": Composition(rloo, modulators=(empg,), needs=ENTROPIES),
    "empg_dapo": Composition(grpo, (overlong,), (empg, dynamic_sampling), ENTROPIES),
    "empg_gigpo": Composition(gigpo, (invalid_actions,), (empg,), ANCHORS | ENTROPIES),
    "empg_hgpo": Composition(hgpo, (invalid_actions,), (empg,), ANCHORS | ENTROPIES),
    "aepo": Composition(grpo, modulators=(entropy_balance,), needs=ENTROPIES),
    # Branches that share a prefix: soft attribution is plain GRPO over all of them.
    "arpo": Composition(grpo),
    "arpo_hard": Composition(grpo, modulators=(hard_attribution,)),
    "eapo": Composition(turn_group, (efficiency_discount,)),
    # With a critic.
    "gae": Composition(gae, modulators=(whiten,), needs=CRITIC),
    "turn_gae": Composition(turn_gae, modulators=(whiten,), needs=CRITIC),
    "bilevel_gae": Composition(bilevel_gae, modulators=(whiten,), needs=CRITIC),
    "egae": Composition(egae, needs=CRITIC),
    "poad": Composition(poad, modulators=(whiten,), needs=CRITIC),
    "ntpo": Composition(partial(poad, backup="ntpo"), modulators=(whiten,), needs=CRITIC),
    "archer": Composition(partial(poad, backup="archer"), modulators=(whiten,), needs=CRITIC),
    "hiper_hae": Composition(hiper_hae, needs=CRITIC | {Need.PLANS}, value_heads=3),
}
"""Every credit method by the name the run file gives it (`[trainer] credit`)."""


def register(name: str, method: Composition | Estimator) -> None:
    """Add a credit method to the table of this process, for programs that train in process.

    Run files need no registration: they may name `file.py:object`, or a method that an installed package adds by an
    entry point of the group `agentrl.credit`.

    Args:
        name: As `trainer.credit` will name it.
        method: A composition, or an estimator alone.

    Raises:
        ConfigError: The name is taken.
    """
    if name in COMPOSITIONS:
        raise ConfigError(f"credit method {name!r} is there already; register yours under another name")
    COMPOSITIONS[name] = _as_composition(name, method)


def composition(name: str) -> Composition:
    """Return a credit method by name: of the table, of an installed package, or `file.py:object`.

    Raises:
        ConfigError: There is none of that name; the message has the nearest.
    """
    if name in COMPOSITIONS:
        return COMPOSITIONS[name]
    outside = find_outside(name)
    if outside is not None:
        return _as_composition(name, outside)
    known = {*COMPOSITIONS, *outside_names()}
    raise ConfigError(f"trainer.credit = {name!r}: no such credit method{_nearest(name, known)}")


def _as_composition(name: str, method: object) -> Composition:
    if isinstance(method, Composition):
        return method
    if not callable(method):
        raise ConfigError(f"credit method {name!r} is {type(method).__name__}; expected a Composition or an estimator")
    return Composition(method)


def assign(name: str, batch: CreditBatch, **options: Any) -> torch.Tensor:
    """Return one advantage per sampled token, float32 [K], by a method of the table.

    Args:
        name: Key of `COMPOSITIONS`, e.g. "grpo".
        batch: From `credit_batch`.
        options: Options of the method's stages; their defaults are its authors'.

    Raises:
        ConfigError: Unknown method or option; the message has the nearest.
    """
    return assign_with_targets(name, batch, **options).advantage_K


def assign_with_targets(name: str, batch: CreditBatch, **options: Any) -> Credit:
    """Return what `assign` does and, for a method with a critic, the critic's targets; all float32."""
    method = composition(name)
    _check_options(name, method, options)
    credit = method.credit(batch, **options)
    returns = None if credit.return_K is None else credit.return_K.to(torch.float32)
    return Credit(credit.advantage_K.to(torch.float32), returns, credit.target_K)


def check(name: str, available: Collection[Need], options: Iterable[str] = ()) -> None:
    """Refuse a credit method that this run cannot serve, before anything is sampled.

    Args:
        name: Key of `COMPOSITIONS`, as in the run file.
        available: What the environments, the engine and the trainer of the run provide.
        options: Names of the options that the run file gives the method.

    Raises:
        ConfigError: Unknown method or option, or something the method needs is missing; the message says what, and
            what to do about it.
    """
    method = composition(name)
    _check_options(name, method, options)
    missing = [need for need in Need if need in method.needs and need not in available]
    if missing:
        lacks = "; ".join(need.what for need in missing)
        remedies = ", and ".join(need.remedy for need in missing)
        served = [other for other, known in COMPOSITIONS.items() if known.needs <= set(available)]
        raise ConfigError(
            f"trainer.credit = {name!r} needs what this run lacks: {lacks}. To mend it, {remedies}; or choose a method "
            f"that does without: {', '.join(sorted(served))}"
        )


def _check_options(name: str, method: Composition, options: Iterable[str]) -> None:
    known = method.options()
    for option in options:
        if option not in known:
            raise ConfigError(f"credit method {name!r} has no option {option!r}{_nearest(option, known)}")


def _keywords(stage: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(stage).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def _bound(stage: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    return partial(stage, **{name: options[name] for name in _keywords(stage) if name in options})


def _nearest(name: str, known: dict[str, Composition] | set[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Known: {', '.join(sorted(known)) or 'none'}"
