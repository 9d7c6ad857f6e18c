"""Episodes of tool environments: what the agent reads, and what counts as whose fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from agentrl import Env, EnvError, Message, Opening, Step, StopEpisode, Task, ToolCall, ToolError, reward, tool
from agentrl.env import LocalEnv, LocalSession
from agentrl.trajectory import StopReason

TASK = Task("t-1", prompt="Buy tea.", answer=["tea"])


@dataclass
class Receipt:
    total: float
    items: list[str]


class Shop(Env):
    """Sync and async tools, each kind of answer and each kind of failure."""

    system = "You are a shopper."

    def reset(self, task: Task) -> str:
        self.cart: list[str] = []
        return str(task.prompt)

    @tool
    def add(self, item: str, qty: int = 1) -> str:
        """Put an item in the cart."""
        if item == "gold":
            raise ToolError("gold is sold out")
        self.cart += [item] * qty
        return f"cart: {self.cart}"

    @tool
    async def receipt(self) -> Receipt:
        """Read the receipt."""
        await asyncio.sleep(0)
        return Receipt(1.5 * len(self.cart), self.cart)

    @tool
    def clear(self) -> None:
        """Empty the cart."""
        self.cart.clear()

    @tool
    def pay(self) -> Step:
        """Pay and leave."""
        return Step("paid", reward=0.5, done=True)

    @tool
    def leave(self) -> str:
        """Leave."""
        raise StopEpisode("goodbye", reward=-1)

    @tool
    def crash(self) -> str:
        """Fail."""
        raise KeyError("till")

    @tool
    async def crash_later(self) -> str:
        """Fail."""
        await asyncio.sleep(0)
        raise ZeroDivisionError("till")

    @tool
    def exit(self) -> str:
        """Fail badly."""
        raise SystemExit(3)

    @tool
    def secret(self) -> object:
        """Give what cannot be shown."""
        return object()

    @reward
    def exact(self, task: Task) -> float:
        return float(self.cart == task.answer)


def calls(*named: tuple[str, dict[str, Any] | None]) -> Message:
    made = tuple(ToolCall(name, arguments, id=f"c{index}") for index, (name, arguments) in enumerate(named))
    return Message("assistant", "", tool_calls=made)


@asynccontextmanager
async def episode(env_class: type[Env] = Shop, task: Task = TASK) -> AsyncIterator[tuple[LocalSession, Opening]]:
    session = LocalEnv(env_class).session()
    try:
        yield session, await session.reset(task)
    finally:
        await session.close()


async def test_opening_has_system_prompt_task_and_schemas() -> None:
    async with episode() as (_, opening):
        assert opening.messages == (Message("system", "You are a shopper."), Message("user", "Buy tea."))
        assert [schema["function"]["name"] for schema in opening.tools][:2] == ["add", "receipt"]


async def test_several_calls_of_a_message_run_in_order_and_are_each_answered() -> None:
    async with episode() as (session, _):
        result = await session.step(calls(("add", {"item": "tea", "qty": "2"}), ("receipt", {}), ("clear", {})))
        assert [(message.role, message.tool_call_id, message.name) for message in result.messages] == [
            ("tool", "c0", "add"),
            ("tool", "c1", "receipt"),
            ("tool", "c2", "clear"),
        ]
        assert result.messages[0].content == "cart: ['tea', 'tea']", 'an int given as "2" is taken as 2'
        assert result.messages[1].content == '{"total":3.0,"items":["tea","tea"]}'
        assert result.messages[2].content == "ok"
        assert result.valid and not result.done
        assert [outcome.error for outcome in result.tool_calls] == [None, None, None]
        assert all(outcome.seconds > 0 for outcome in result.tool_calls)


@pytest.mark.parametrize(
    ("call", "kind", "answer"),
    [
        (ToolCall("ad", {"item": "tea"}), "unknown_tool", "Did you mean 'add'?"),
        (ToolCall("reset", {}), "unknown_tool", "there is no tool 'reset'"),
        (ToolCall("_ask", {}), "unknown_tool", "there is no tool"),
        (ToolCall("add", None, error="unbalanced brace"), "malformed", "unbalanced brace"),
        (ToolCall("add", None), "malformed", "no JSON object"),
        (ToolCall("add", {"item": "tea", "qty": "two"}), "invalid_arguments", "'qty': input should be a valid integer"),
        (ToolCall("add", {"qty": 1}), "invalid_arguments", "missing argument 'item'"),
        (
            ToolCall("add", {"item": "tea", "qyt": 2}),
            "invalid_arguments",
            "unknown argument 'qyt' (did you mean 'qty'?)",
        ),
        (ToolCall("add", {"item": "gold"}), "tool_error", "gold is sold out"),
    ],
)
async def test_the_agents_mistakes_are_answered_to_the_agent(call: ToolCall, kind: str, answer: str) -> None:
    async with episode() as (session, _):
        result = await session.step(Message("assistant", "", tool_calls=(call,)))
        assert result.tool_calls[0].error == kind
        assert answer in result.messages[0].content
        assert result.messages[0].content == result.tool_calls[0].result
        assert not result.valid and not result.done
        assert session.env.cart == []
        after = await session.step(calls(("add", {"item": "tea"})))
        assert after.valid, "the episode goes on"


async def test_arguments_that_do_not_fit_are_answered_with_the_usage() -> None:
    async with episode() as (session, _):
        result = await session.step(calls(("add", {})))
        assert "Usage: add(item: str, qty: int = 1)" in result.messages[0].content


async def test_a_step_from_a_tool_ends_the_episode_and_later_calls_are_not_made() -> None:
    async with episode() as (session, _):
        result = await session.step(calls(("pay", {}), ("add", {"item": "tea"})))
        assert result.done and result.rewards == {"step": 0.5} and result.stop_reason is StopReason.COMPLETED
        assert [outcome.name for outcome in result.tool_calls] == ["pay"]
        assert (await session.finish()).parts == {"exact": 0.0}


async def test_stop_episode_ends_with_its_message_and_reward() -> None:
    async with episode() as (session, _):
        result = await session.step(calls(("leave", {})))
        assert result.done and result.valid
        assert result.messages[0].content == "goodbye"
        assert result.rewards == {"step": -1.0}
        assert result.tool_calls[0].error is None


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("crash", "tool 'crash' (task 't-1') raised KeyError: 'till'", KeyError),
        ("crash_later", "tool 'crash_later' (task 't-1') raised ZeroDivisionError: till", ZeroDivisionError),
        ("exit", "tool 'exit' (task 't-1') raised SystemExit", SystemExit),
        ("secret", "cannot be shown", TypeError),
    ],
)
async def test_the_environments_failures_are_errors_that_name_place_and_cause(
    name: str, text: str, cause: type[BaseException]
) -> None:
    async with episode() as (session, _):
        with pytest.raises(EnvError) as caught:
            await session.step(calls((name, {})))
        assert text in str(caught.value) and str(caught.value).startswith("Shop: ")
        assert isinstance(caught.value.__cause__, cause)
        if name.startswith("crash"):
            assert "test_tool_episodes.py:" in str(caught.value)


async def test_a_message_without_calls_ends_the_episode() -> None:
    async with episode() as (session, _):
        await session.step(calls(("add", {"item": "tea"})))
        result = await session.step(Message("assistant", "I bought it."))
        assert result.done and result.messages == () and result.stop_reason is StopReason.COMPLETED
        assert (await session.finish()).reward == 1.0


async def test_reply_can_keep_the_episode_going() -> None:
    class Chatty(Shop):
        async def reply(self, text: str) -> str | Step:
            return Step("bye", done=True) if text == "bye" else f"you said {text}"

    async with episode(Chatty) as (session, _):
        first = await session.step(Message("assistant", "hello"))
        assert not first.done and first.messages == (Message("user", "you said hello"),)
        last = await session.step(Message("assistant", "bye"))
        assert last.done and last.messages == (Message("user", "bye"),)


async def test_tool_names_chooses_the_tools_of_an_episode() -> None:
    class Narrow(Shop):
        def tool_names(self) -> Sequence[str]:
            return ("add",)

    class Texty(Shop):
        def tool_names(self) -> Sequence[str]:
            return ()

        def act(self, text: str) -> str:
            return text.upper()

    async with episode(Narrow) as (session, opening):
        assert len(opening.tools) == 1
        assert (await session.step(calls(("pay", {})))).tool_calls[0].error == "unknown_tool"
    async with episode(Texty) as (session, opening):
        assert opening.tools == ()
        assert (await session.step(Message("assistant", "hey"))).messages == (Message("user", "HEY"),)


@pytest.mark.parametrize("text", ["Buy tea.", Message("user", "Buy tea."), [Message("user", "Buy tea.")]])
async def test_reset_may_give_text_a_message_or_messages(text: Any) -> None:
    class Any3(Shop):
        async def reset(self, task: Task) -> Any:
            return text

    async with episode(Any3) as (_, opening):
        assert opening.messages == (Message("system", "You are a shopper."), Message("user", "Buy tea."))


@pytest.mark.parametrize("wrong", [None, [], 3, ["text"], {"role": "user"}])
async def test_reset_that_gives_anything_else_is_an_error(wrong: Any) -> None:
    class Wrong(Shop):
        def reset(self, task: Task) -> Any:
            return wrong

    session = LocalSession(Wrong)
    with pytest.raises(EnvError, match="reset returned"):
        await session.reset(TASK)
    await session.close()


def raising(error: Exception) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any) -> Any:
        raise error

    return method


@pytest.mark.parametrize("method", ["__init__", "reset", "anchor", "tool_names"])
async def test_a_failure_before_the_first_turn_names_the_method(method: str) -> None:
    broken = type("Broken", (Shop,), {method: raising(ValueError("no world")), "close": raising(OSError("still shut"))})
    session = LocalSession(broken)
    with pytest.raises(EnvError, match="ValueError: no world"):
        await session.reset(TASK)
    if method == "__init__":
        await session.close()
    else:
        with pytest.raises(EnvError, match=r"close .*OSError: still shut"):
            await session.close()


async def test_stop_episode_in_a_place_where_nothing_can_stop_is_an_error() -> None:
    session = LocalSession(type("Early", (Shop,), {"reset": raising(StopEpisode("x"))}))
    with pytest.raises(EnvError, match="StopEpisode"):
        await session.reset(TASK)
    await session.close()
