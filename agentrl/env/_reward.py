"""`@reward`: a method that scores the finished episode."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar, overload

from agentrl.env._signature import definition_site
from agentrl.errors import ConfigError

ATTRIBUTE = "__agentrl_reward__"

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """A reward of an environment.

    Attributes:
        name: Name of the method, under which its value is logged.
        weight: Factor of its value in the total; 0 = logged only.
        takes_task: Whether the method takes the task.
    """

    name: str
    weight: float
    takes_task: bool


@overload
def reward(method: Method) -> Method: ...
@overload
def reward(*, weight: float = 1.0) -> Callable[[Method], Method]: ...
def reward(method: Method | None = None, *, weight: float = 1.0) -> Method | Callable[[Method], Method]:
    """Mark a method of an Env as a reward, asked once when the episode is over, however it ended.

    It takes `(self)` or `(self, task)`, may be `async`, and returns a number, a bool, or None for "not scored". The
    episode's reward is the sum of weight times value over the parts that are scored.

    Args:
        method: The method, where the decorator is used bare.
        weight: Factor of its value in the total; 0 logs the value only.

    Raises:
        ConfigError: (at class definition) other parameters, or a weight that is no finite number.
    """

    def mark(function: Method) -> Method:
        if not isinstance(function, FunctionType):
            raise ConfigError(f"@reward marks methods, not {function!r}; options go by name: @reward(weight=0.2)")
        where, name = definition_site(function), function.__name__
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise ConfigError(f"{where}: reward {name!r} has weight {weight!r}; expected a finite number")
        parameters = list(inspect.signature(function).parameters.values())
        if len(parameters) not in (1, 2) or any(
            parameter.kind is not parameter.POSITIONAL_OR_KEYWORD for parameter in parameters
        ):
            raise ConfigError(f"{where}: reward {name!r} must take (self) or (self, task)")
        setattr(function, ATTRIBUTE, RewardSpec(name, float(weight), takes_task=len(parameters) == 2))
        return function

    return mark if method is None else mark(method)
