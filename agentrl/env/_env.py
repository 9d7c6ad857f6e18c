"""The base class of environments."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, ClassVar

from agentrl.env._reward import ATTRIBUTE as REWARD
from agentrl.env._reward import RewardSpec
from agentrl.env._step import Step
from agentrl.env._tool import ATTRIBUTE as TOOL
from agentrl.env._tool import ToolSpec
from agentrl.errors import ConfigError, EnvError
from agentrl.messages import Message, ToolCall
from agentrl.tasks import Task

Opened = str | Message | Sequence[Message]
Answer = str | Step
Demonstration = str | ToolCall | Message


class Env:
    """An environment: a class; an instance is one episode and is thrown away after.

    Give it tools (methods marked `@tool`) or override `act` (a text game), and score it by methods marked `@reward`.
    Keyword arguments of the constructor are its settings, the `args` of a run file; it keeps them and acquires nothing,
    since an instance is also made to learn what the class declares: acquire in `reset`, free in `close`. Any method may
    be `async`; the other code of an episode, its constructor included, runs on one thread of its own from `reset` to
    `close`.

    Where a failure goes: `ToolError` is shown to the agent and the episode goes on; `StopEpisode` ends it; anything
    else is the environment's fault, and the episode is an error that is never trained on.

    Attributes:
        tasks: Path of a JSONL file (relative to the file that defines the class), rows or Tasks, a TaskSource, or a
            method, class method or property that gives one of them.
        system: System message put before what `reset` gives, or None.
        replayable: The state is a function of task, seed and actions: an unfinished episode can be replayed.
        forkable: Episodes can be copied in the middle.
        max_turns: The environment's own limit on actions, or None.

    Example:
        >>> class Shop(Env):
        ...     tasks = [{"prompt": "Buy tea.", "answer": ["tea"]}]
        ...     def reset(self, task):
        ...         self.cart = []
        ...         return task.prompt
        ...     @tool
        ...     def add(self, item: str) -> str:
        ...         '''Put an item in the cart.'''
        ...         self.cart.append(item)
        ...         return f"cart: {self.cart}"
        ...     @reward
        ...     def exact(self, task) -> bool:
        ...         return self.cart == task.answer
    """

    tasks: Any = ()
    system: str | None = None
    replayable: bool = False
    forkable: bool = False
    max_turns: int | None = None

    tool_specs: ClassVar[Mapping[str, ToolSpec]] = {}
    """Tools by name, in the order defined; filled in at class definition."""
    reward_specs: ClassVar[Mapping[str, RewardSpec]] = {}
    """Rewards by name, in the order defined; filled in at class definition."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.tool_specs = _collect(cls, TOOL, "tool")
        cls.reward_specs = _collect(cls, REWARD, "reward")

    def reset(self, task: Task) -> Opened | Awaitable[Opened]:
        """Begin the episode and return what the agent reads first; by default the task's prompt."""
        if not isinstance(task.prompt, str):
            raise EnvError(f"task {task.id!r} has no prompt text; give it one or override reset(self, task)")
        return task.prompt

    def act(self, text: str) -> Answer | Awaitable[Answer]:
        """Carry out the agent's text; override it in an environment without tools.

        Returns:
            What the agent reads next, or a `Step` where there is more to say.
        """
        raise EnvError(f"{type(self).__name__} has no tools and does not override act(self, text)")

    def reply(self, text: str) -> Answer | Awaitable[Answer]:
        """Answer, in an environment with tools, a message without tool calls; by default it ends the episode."""
        return Step(done=True)

    def tool_names(self) -> Sequence[str]:
        """Return the tools offered in this episode; by default all. None offered makes it a text episode (`act`)."""
        return tuple(self.tool_specs)

    def anchor(self) -> str | Awaitable[str | None] | None:
        """Return a short hash or text of the true state, equal for equal states; None where there is none."""
        return None

    def demonstrate(self) -> Demonstration | Awaitable[Demonstration]:
        """Return the expert's next action in the present state, without carrying it out."""
        raise EnvError(f"{type(self).__name__} has no expert: it does not override demonstrate(self)")

    def metadata(self) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Return small JSON values to keep with the trajectory, asked when the episode is over."""
        return {}

    def close(self) -> Awaitable[None] | None:
        """Free what the episode holds; called once, also after errors and where `reset` failed half-way."""
        return None


def overrides(env_class: type[Env], name: str) -> bool:
    """Return whether a class has a method of its own in place of the base class's."""
    return getattr(env_class, name) is not getattr(Env, name)


def _collect(cls: type[Env], attribute: str, kind: str) -> dict[str, Any]:
    """Gather marked methods over the class and its bases, plain mixins included; a base's come first."""
    specs: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        for name, member in vars(owner).items():
            spec = getattr(getattr(member, "__func__", member), attribute, None)
            place = f"{owner.__module__}.{owner.__qualname__}.{name}"
            if spec is None and name in specs:
                raise ConfigError(f"{place} takes the place of a {kind} but is not marked; put @{kind} above it")
            if spec is None:
                continue
            if isinstance(member, staticmethod | classmethod):
                raise ConfigError(f"{place}: a {kind} is a plain method that takes `self`")
            if spec.name != name or hasattr(Env, name):
                raise ConfigError(f"{place}: {name!r} cannot be the name of a {kind}")
            specs[name] = spec
    return specs
