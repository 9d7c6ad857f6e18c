"""One episode of an Env, without threads or event loop.

Every method is a generator: it runs the environment's synchronous code in place, *yields* whatever its methods give to
be awaited, is sent the outcome, and returns its result. `LocalSession` runs the generators on the episode's thread and
awaits what they yield on the event loop: a wholly synchronous step is then one trip to the thread and back.
"""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

from agentrl.env._calls import answer_text, refuse, result_text
from agentrl.env._env import Env, overrides
from agentrl.env._failure import env_failure
from agentrl.env._session import Opening, Score, StepResult
from agentrl.env._signature import BadArgumentsError
from agentrl.env._step import Step
from agentrl.errors import ConfigError, EnvError, StopEpisode, ToolError
from agentrl.messages import Message, ToolCall
from agentrl.tasks import Task
from agentrl.trajectory import ToolOutcome

Result = TypeVar("Result")
Play = Generator[Awaitable[Any], Any, Result]


class Episode:
    """One episode: the instance of the environment, its task, and the rules of the Env contract.

    Args:
        env_class: The environment.
        settings: Keyword arguments of its constructor.
        name: What to call it in messages.
    """

    def __init__(self, env_class: type[Env], settings: Mapping[str, Any], name: str) -> None:
        self.env: Env | None = None
        self._env_class = env_class
        self._settings = settings
        self._name = name
        self._task: Task | None = None
        self._tools: tuple[str, ...] = ()
        self._has_anchor = overrides(env_class, "anchor")

    def reset(self, task: Task) -> Play[Opening]:
        """Make the instance and begin."""
        self._task = task
        self.env = env = yield from self._ask("the constructor", lambda: self._env_class(**self._settings))
        first = yield from self._ask("reset", env.reset, task)
        self._tools = tuple((yield from self._ask("tool_names", env.tool_names)))
        for name in self._tools:
            if name not in env.tool_specs:
                raise EnvError(f"{self._name}: tool_names offers {name!r}; its tools are {_names(env.tool_specs)}")
        anchor = yield from self._anchor(env)
        schemas = tuple(env.tool_specs[name].schema for name in self._tools)
        return Opening(self._opening(env, first), schemas, anchor)

    def step(self, message: Message) -> Play[StepResult]:
        """Carry out one assistant message."""
        env = self._present()
        if message.tool_calls:
            return (yield from self._carry_out(env, message.tool_calls))
        place, method = ("reply", env.reply) if self._tools else ("act", env.act)
        step = yield from self._answer(place, lambda: method(message.content))
        messages = (Message("user", step.observation),) if step.observation or not step.done else ()
        anchor = yield from self._anchor(env)
        return StepResult(messages, step.done, self._rewards([step]), (), step.valid, anchor, step.stop_reason)

    def finish(self) -> Play[Score]:
        """Score the episode."""
        env = self._present()
        parts: dict[str, float | None] = {}
        for spec in env.reward_specs.values():
            arguments = (self._task,) if spec.takes_task else ()
            value = yield from self._ask(f"reward {spec.name!r}", getattr(env, spec.name), *arguments)
            parts[spec.name] = self._number(f"reward {spec.name!r}", value)
        scored = [env.reward_specs[name].weight * value for name, value in parts.items() if value is not None]
        metadata = yield from self._ask("metadata", env.metadata)
        return Score(parts, None if parts and not scored else math.fsum(scored), self._json(metadata))

    def demonstrate(self) -> Play[Message]:
        """Ask the expert."""
        env = self._present()
        action = yield from self._ask("demonstrate", env.demonstrate)
        match action:
            case Message(role="assistant"):
                return action
            case ToolCall():
                return Message("assistant", "", (action,))
            case str():
                return Message("assistant", action)
        raise EnvError(
            f"{self._name}: demonstrate returned {action!r}; expected text, a ToolCall or an assistant Message"
        )

    def close(self) -> Play[None]:
        """Free what the instance holds, where there is one."""
        env, self.env = self.env, None
        if env is not None:
            yield from self._ask("close", env.close)

    def _carry_out(self, env: Env, calls: Sequence[ToolCall]) -> Play[StepResult]:
        messages: list[Message] = []
        outcomes: list[ToolOutcome] = []
        steps: list[Step] = []
        for call in calls:
            started = time.perf_counter()
            step, error = yield from self._call(env, call)
            seconds = time.perf_counter() - started
            outcomes.append(ToolOutcome(call.name, call.arguments, step.observation, error, seconds))
            messages.append(Message("tool", step.observation, tool_call_id=call.id, name=call.name))
            steps.append(step)
            if step.done:
                break
        anchor = yield from self._anchor(env)
        valid = all(step.valid for step in steps)
        last = steps[-1]
        return StepResult(
            tuple(messages), last.done, self._rewards(steps), tuple(outcomes), valid, anchor, last.stop_reason
        )

    def _call(self, env: Env, call: ToolCall) -> Play[tuple[Step, str | None]]:
        """Return the answer to one call and the kind of failure, as ToolOutcome has it."""
        refusal = refuse(call, self._tools)
        if refusal is not None:
            return Step(refusal.text, valid=False), refusal.kind
        spec = env.tool_specs[call.name]
        try:
            arguments = spec.signature.bind(call.arguments or {})
        except BadArgumentsError as error:
            text = f"Error: {error}. Usage: {call.name}{spec.signature.text}"
            return Step(text, valid=False), "invalid_arguments"
        method: Callable[..., Any] = getattr(env, call.name)
        refused = False

        def on_refusal() -> None:
            nonlocal refused
            refused = True

        step = yield from self._answer(f"tool {call.name!r}", lambda: method(**arguments), on_refusal, result_text)
        return step, "tool_error" if refused else None

    def _answer(
        self,
        place: str,
        method: Callable[[], Any],
        on_refusal: Callable[[], None] = lambda: None,
        as_text: Callable[[Any], str] = answer_text,
    ) -> Play[Step]:
        """Ask a method that answers the agent; ToolError and StopEpisode are answers too."""
        try:
            value = yield from self._ask(place, method, signals=(ToolError, StopEpisode))
        except ToolError as error:
            on_refusal()
            return Step(f"Error: {error}", valid=False)
        except StopEpisode as stop:
            return Step(stop.message, stop.reward, done=True)
        if isinstance(value, Step):
            return value
        try:
            return Step(as_text(value))
        except (TypeError, ValueError) as error:
            raise EnvError(f"{self._name}: {self._where(place)} returned what cannot be shown: {error}") from error

    def _ask(
        self, place: str, method: Callable[..., Any], *arguments: Any, signals: tuple[type[Exception], ...] = ()
    ) -> Play[Any]:
        """Call a method of the environment, sync or async; what it raises becomes an EnvError that says where."""
        passed: tuple[type[Exception], ...] = (*signals, EnvError, ConfigError)
        try:
            value = method(*arguments)
            if inspect.isawaitable(value):
                value = yield value
        except passed:
            raise
        except (Exception, SystemExit) as error:
            raise env_failure(self._name, self._where(place), error) from error
        return value

    def _anchor(self, env: Env) -> Play[str | None]:
        if not self._has_anchor:
            return None
        anchor = yield from self._ask("anchor", env.anchor)
        if anchor is not None and not isinstance(anchor, str):
            raise EnvError(f"{self._name}: anchor returned {anchor!r}; expected text or None")
        return anchor

    def _opening(self, env: Env, first: Any) -> tuple[Message, ...]:
        messages = (
            [Message("user", first)] if isinstance(first, str) else [first] if isinstance(first, Message) else first
        )
        if not isinstance(messages, Sequence) or not all(isinstance(message, Message) for message in messages):
            raise EnvError(
                f"{self._name}: reset returned {first!r}; expected text, a Message or a sequence of Messages"
            )
        if not messages:
            raise EnvError(f"{self._name}: reset returned no message; the agent needs something to read")
        if env.system is not None and messages[0].role != "system":
            return (Message("system", env.system), *messages)
        return tuple(messages)

    def _rewards(self, steps: Sequence[Step]) -> dict[str, float]:
        given = [self._number("the step's reward", step.reward) for step in steps]
        earned = [value for value in given if value is not None]
        return {"step": math.fsum(earned)} if earned else {}

    def _number(self, place: str, value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
            raise EnvError(f"{self._name}: {self._where(place)} is {value!r}; expected a number, a bool or None")
        number = float(value)
        if not math.isfinite(number):
            raise EnvError(f"{self._name}: {self._where(place)} is {number}; a reward must be finite")
        return number

    def _json(self, metadata: Any) -> dict[str, Any]:
        if not isinstance(metadata, Mapping):
            raise EnvError(f"{self._name}: metadata returned {metadata!r}; expected a mapping")
        try:
            json.dumps(dict(metadata), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise EnvError(f"{self._name}: metadata returned what JSON cannot hold: {error}") from error
        return dict(metadata)

    def _present(self) -> Env:
        if self.env is None:
            raise EnvError(f"{self._name}: the episode has not begun or is over")
        return self.env

    def _where(self, place: str) -> str:
        return place if self._task is None else f"{place} (task {self._task.id!r})"


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"
