"""The report of an evaluation: a pure function of its outcomes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from agentrl.errors import ProtocolError
from agentrl.evaluation._outcome import EvalSetting, Outcome, outcome_of
from agentrl.evaluation._statistics import Estimate, estimate, pass_all_k, pass_at_k
from agentrl.trajectory import Trajectory

FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True)
class EvalReport:
    """What came of an evaluation. Infrastructure errors are counted apart and enter no mean.

    Attributes:
        setting: What was evaluated and how.
        outcomes: Every attempt; errors that a retry mended are not in it.
        seconds: Wall time of the whole.
        retried: Attempts started again after an infrastructure error.
        success: Share of solved attempts; None where the environment does not say what success is.
        reward: Mean total reward.
        parts: Mean of each reward part, over the attempts where it was scored.
        pass_at: By k, the chance that at least one of k attempts succeeds; for k > 1 only with as many attempts.
        pass_all: By k, the chance that all of k attempts succeed.
        stop_reasons: Number of attempts by stop reason, errors left out.
        errors: Number of errors by what failed.
        categories: Success (or reward) by category, where tasks have one.
        means: Turns, tokens, seconds and the like per episode.
        failed_tasks: Tasks never solved, first ones first.
    """

    setting: EvalSetting
    outcomes: tuple[Outcome, ...]
    seconds: float
    retried: int
    success: Estimate | None
    reward: Estimate | None
    parts: Mapping[str, Estimate]
    pass_at: Mapping[int, float]
    pass_all: Mapping[int, float]
    stop_reasons: Mapping[str, int]
    errors: Mapping[str, int]
    categories: Mapping[str, Estimate]
    means: Mapping[str, float]
    failed_tasks: tuple[str, ...]

    @classmethod
    def from_outcomes(
        cls, outcomes: Iterable[Outcome], setting: EvalSetting, *, seconds: float = 0.0, retried: int = 0
    ) -> Self:
        """Compute the report of a set of attempts."""
        every = _with_success(outcomes)
        scored = [outcome for outcome in every if outcome.scored]
        judged = [outcome for outcome in scored if outcome.success is not None]
        names = sorted({name for outcome in scored for name in outcome.parts})
        at, all_of = _passes(judged)
        return cls(
            setting=setting,
            outcomes=every,
            seconds=seconds,
            retried=retried,
            success=_mean(judged, _success),
            reward=_mean(scored, _reward),
            parts={name: found for name in names if (found := _mean(scored, _part(name)))},
            pass_at=at,
            pass_all=all_of,
            stop_reasons=dict(Counter(outcome.stop_reason.value for outcome in scored).most_common()),
            errors=dict(Counter(_error_kind(outcome) for outcome in every if not outcome.scored).most_common()),
            categories=_categories(scored),
            means=_means(scored),
            failed_tasks=_failed(judged),
        )

    @classmethod
    def from_trajectories(
        cls, trajectories: Iterable[Trajectory], setting: EvalSetting, *, seconds: float = 0.0
    ) -> Self:
        """Compute the report of trajectories; `member` is the attempt."""
        return cls.from_outcomes(map(outcome_of, trajectories), setting, seconds=seconds)

    @property
    def scored(self) -> int:
        """Number of attempts that count."""
        return sum(outcome.scored for outcome in self.outcomes)

    def to_json(self) -> str:
        """Return the report as JSON: setting and outcomes, from which all else follows, and the figures to read."""
        data = {
            "format": FORMAT,
            "setting": self.setting.model_dump(mode="json"),
            "seconds": round(self.seconds, 3),
            "retried": self.retried,
            "summary": {
                "scored": self.scored,
                "success": _plain(self.success),
                "reward": _plain(self.reward),
                "parts": {name: _plain(part) for name, part in self.parts.items()},
                "pass_at": {str(k): value for k, value in self.pass_at.items()},
                "pass_all": {str(k): value for k, value in self.pass_all.items()},
                "stop_reasons": self.stop_reasons,
                "errors": self.errors,
                "categories": {name: _plain(part) for name, part in self.categories.items()},
                "means": self.means,
            },
            "outcomes": [outcome.model_dump(mode="json") for outcome in self.outcomes],
        }
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str | Path = "report") -> Self:
        """Read a report written by `to_json`; its figures are computed anew.

        Raises:
            ProtocolError: The text is no report, or one of another version.
        """
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise ProtocolError(f"{source}: evaluation format {data['format']}, this version reads {FORMAT}")
            outcomes = [Outcome.model_validate(row) for row in data["outcomes"]]
            setting = EvalSetting.model_validate(data["setting"])
            return cls.from_outcomes(outcomes, setting, seconds=data["seconds"], retried=data["retried"])
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise ProtocolError(
                f"{source} is no evaluation report as `agentrl eval --json` writes it: {error}"
            ) from error


def _with_success(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return outcomes; where the environment never says what success is, rewards that are all 0 or 1 say it."""
    every = tuple(outcomes)
    if any(outcome.success is not None for outcome in every) or {o.reward for o in every if o.scored} - {0.0, 1.0}:
        return every
    return tuple(o.model_copy(update={"success": o.reward == 1}) if o.scored else o for o in every)


def _success(outcome: Outcome) -> float | None:
    return None if outcome.success is None else float(outcome.success)


def _part(name: str) -> Callable[[Outcome], float | None]:
    return lambda outcome: outcome.parts.get(name)


def _reward(outcome: Outcome) -> float | None:
    return outcome.reward


def _mean(outcomes: Sequence[Outcome], value: Callable[[Outcome], float | None]) -> Estimate | None:
    known = [(found, outcome.task_id) for outcome in outcomes if (found := value(outcome)) is not None]
    return estimate([found for found, _ in known], [task for _, task in known])


def _passes(judged: Sequence[Outcome]) -> tuple[dict[int, float], dict[int, float]]:
    """Return pass@k and pass^k for every k that all tasks have attempts for, from k = 2 on; pass@1 is the success."""
    attempts = Counter(outcome.task_id for outcome in judged)
    successes = Counter(outcome.task_id for outcome in judged if outcome.success)
    fewest = min(attempts.values(), default=0)
    at: dict[int, float] = {}
    all_of: dict[int, float] = {}
    for k in _ladder(fewest):
        at[k] = sum(pass_at_k(n, successes[task], k) for task, n in attempts.items()) / len(attempts)
        all_of[k] = sum(pass_all_k(n, successes[task], k) for task, n in attempts.items()) / len(attempts)
    return at, all_of


def _ladder(most: int) -> list[int]:
    """Return 2, 4, 8, … and `most` itself."""
    powers = [2**exponent for exponent in range(1, most.bit_length()) if 2**exponent < most]
    return [*powers, most] if most > 1 else []


def _categories(scored: Sequence[Outcome]) -> dict[str, Estimate]:
    names = sorted({outcome.category for outcome in scored if outcome.category is not None})
    if len(names) < 2:
        return {}
    judged = all(outcome.success is not None for outcome in scored)
    value = _success if judged else _reward
    found = {name: _mean([outcome for outcome in scored if outcome.category == name], value) for name in names}
    return {name: part for name, part in found.items() if part is not None}


def _means(scored: Sequence[Outcome]) -> dict[str, float]:
    if not scored:
        return {}
    count = len(scored)
    turns = sum(outcome.turns for outcome in scored)
    calls = sum(outcome.tool_calls for outcome in scored)
    return {
        "turns": turns / count,
        "tokens": sum(outcome.tokens for outcome in scored) / count,
        "seconds": sum(outcome.seconds for outcome in scored) / count,
        "invalid_turns": sum(outcome.invalid_turns for outcome in scored) / max(1, turns),
        "tool_errors": sum(outcome.tool_errors for outcome in scored) / max(1, calls),
    }


def _failed(judged: Sequence[Outcome]) -> tuple[str, ...]:
    solved = {outcome.task_id for outcome in judged if outcome.success}
    return tuple(dict.fromkeys(outcome.task_id for outcome in judged if outcome.task_id not in solved))


def _error_kind(outcome: Outcome) -> str:
    if outcome.error is None:
        return "not scored by the environment"
    # Without the task's name, failures of one kind are counted together.
    words = " ".join(outcome.error.replace(outcome.task_id, "…").split())
    return words if len(words) <= 240 else words[:237] + "..."


def _plain(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)
