"""Episodes of text-action environments, scoring, anchors and experts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentrl import ConfigError, Env, EnvError, Message, Step, StopEpisode, Task, ToolCall, ToolError, reward
from agentrl.env import LocalEnv, LocalSession
from agentrl.trajectory import StopReason

TASK = Task("t-1", prompt="say go", answer=3)


class Game(Env):
    moves = 0

    async def act(self, text: str) -> str | Step:
        self.moves += 1
        match text:
            case "go":
                return f"moved {self.moves}"
            case "goal":
                return Step("there", reward=1, done=True)
            case "wall":
                raise ToolError("there is a wall")
            case "fall":
                raise StopEpisode("you fell", reward=-0.5)
            case "nothing":
                return None
            case "late":
                return Step("time is up", done=True, stop_reason=StopReason.MAX_TURNS)
            case "nan":
                return Step("?", reward=float("nan"))
        return Step("what?", valid=False)

    def anchor(self) -> str:
        return str(self.moves)


async def play(env_class: type[Env], *texts: str) -> tuple[LocalSession, list[Any]]:
    session = LocalEnv(env_class).session()
    await session.reset(TASK)
    return session, [await session.step(Message("assistant", text)) for text in texts]


async def test_text_actions_and_their_answers() -> None:
    session, results = await play(Game, "go", "dance", "wall", "goal")
    moved, unknown, refused, there = results
    assert moved.messages == (Message("user", "moved 1"),) and moved.anchor == "1" and moved.rewards == {}
    assert not unknown.valid and not unknown.done
    assert not refused.valid and refused.messages[0].content == "Error: there is a wall"
    assert there.done and there.rewards == {"step": 1.0} and there.anchor == "4"
    await session.close()


async def test_stop_episode_in_act() -> None:
    session, [fell] = await play(Game, "fall")
    assert fell.done and fell.rewards == {"step": -0.5} and fell.messages[0].content == "you fell"
    await session.close()


@pytest.mark.parametrize(("text", "message"), [("nothing", "expected text or a Step"), ("nan", "must be finite")])
async def test_answers_that_are_none_are_the_environments_fault(text: str, message: str) -> None:
    session = LocalSession(Game)
    await session.reset(TASK)
    with pytest.raises(EnvError, match=message):
        await session.step(Message("assistant", text))
    await session.close()


async def test_a_tool_call_to_a_text_game_is_refused_without_a_move() -> None:
    session, _ = await play(Game)
    result = await session.step(Message("assistant", "go", tool_calls=(ToolCall("go", {}, id="c"),)))
    assert not result.valid and "no tools" in result.messages[0].content
    assert session.env.moves == 0
    await session.close()


async def test_rewards_are_weighted_named_and_may_be_unscored() -> None:
    class Scored(Game):
        @reward
        def main(self, task: Task) -> bool:
            return bool(task.answer == 3)

        @reward(weight=0.2)
        async def style(self) -> float:
            return 0.5

        @reward(weight=3)
        def skipped(self) -> None:
            return None

        @reward(weight=0.0)
        def logged(self) -> Any:
            return np.float32(7)

    session, _ = await play(Scored)
    score = await session.finish()
    assert score.parts == {"main": 1.0, "style": 0.5, "skipped": None, "logged": 7.0}
    assert list(score.parts) == ["main", "style", "skipped", "logged"]
    assert score.reward == pytest.approx(1.1)
    await session.close()


async def test_all_unscored_is_none_and_no_rewards_is_zero() -> None:
    class Unscored(Game):
        @reward
        def judge(self) -> None:
            return None

    for env_class, expected in ((Unscored, None), (Game, 0.0)):
        session, _ = await play(env_class)
        assert (await session.finish()).reward == expected
        await session.close()


@pytest.mark.parametrize("value", [float("inf"), "1", [1]])
async def test_a_reward_that_is_no_number_is_an_error(value: Any) -> None:
    class Wrong(Game):
        @reward
        def main(self) -> Any:
            return value

    session, _ = await play(Wrong)
    with pytest.raises(EnvError, match="reward 'main'"):
        await session.finish()
    await session.close()


def test_badly_defined_rewards_are_refused_at_class_definition() -> None:
    with pytest.raises(ConfigError, match=r"test_text_episodes.py:\d+: reward 'main' must take"):

        class Bad(Game):
            @reward
            def main(self, task: Task, extra: int) -> float:
                return 0.0

    with pytest.raises(ConfigError, match="finite number"):

        class Bad(Game):
            @reward(weight=float("nan"))
            def main(self) -> float:
                return 0.0


async def test_metadata_is_kept_and_must_be_json() -> None:
    class Noted(Game):
        note: Any = 3

        def metadata(self) -> dict[str, Any]:
            return {"level": self.note}

    session, _ = await play(Noted)
    assert (await session.finish()).metadata == {"level": 3}
    session.env.note = object()
    with pytest.raises(EnvError, match="JSON"):
        await session.finish()
    await session.close()


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ("go", Message("assistant", "go")),
        (ToolCall("add", {}, id="1"), Message("assistant", "", (ToolCall("add", {}, id="1"),))),
        (Message("assistant", "a", reasoning="b"), Message("assistant", "a", reasoning="b")),
    ],
)
async def test_experts_may_show_text_a_call_or_a_message(shown: Any, message: Message) -> None:
    class Expert(Game):
        async def demonstrate(self) -> Any:
            return shown

    session, _ = await play(Expert)
    assert LocalEnv(Expert).has_expert
    assert await session.demonstrate() == message
    await session.close()


async def test_no_expert_and_a_lost_expert_are_errors() -> None:
    class Lost(Game):
        def demonstrate(self) -> Any:
            return None

    assert not LocalEnv(Game).has_expert
    for env_class, text in ((Game, "no expert"), (Lost, "demonstrate returned None")):
        session, _ = await play(env_class)
        with pytest.raises(EnvError, match=text):
            await session.demonstrate()
        await session.close()


async def test_reset_falls_back_to_the_prompt() -> None:
    session = LocalSession(Game)
    assert (await session.reset(TASK)).messages == (Message("user", "say go"),)
    await session.close()
    session = LocalSession(Game)
    with pytest.raises(EnvError, match="no prompt text"):
        await session.reset(Task("t-2"))
    await session.close()


async def test_a_limit_of_the_environments_own_is_no_completion() -> None:
    _, results = await play(Game, "go", "late")
    assert results[-1].done
    assert results[-1].stop_reason is StopReason.MAX_TURNS
