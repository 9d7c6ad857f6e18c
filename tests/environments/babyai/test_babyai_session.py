"""BabyAI through the session contract, as the agent loop plays it."""

import pytest

from agentrl.env import load
from agentrl.errors import ConfigError
from agentrl.messages import Message


@pytest.mark.parametrize("actions", ["text", "tools"])
async def test_the_expert_plays_an_episode_through_a_session(actions):
    env = load("babyai", level="GoToObj", actions=actions)
    assert env.replayable
    assert env.has_expert
    session = env.session()
    try:
        opening = await session.reset(env.tasks.task("test", 0))
        assert [message.role for message in opening.messages] == ["system", "user"]
        assert len(opening.tools) == (6 if actions == "tools" else 0)
        anchors = [opening.anchor]
        for _ in range(3):
            result = await session.step(await session.demonstrate())
            assert result.valid
            anchors.append(result.anchor)
        assert result.done
        assert len(set(anchors)) == 4
        score = await session.finish()
        assert score.reward == 1.0
        assert score.parts == {"success": 1.0}
        assert score.metadata["mission"] == "go to the green key"
    finally:
        await session.close()


async def test_an_unknown_action_is_answered_as_invalid_and_the_episode_goes_on():
    env = load("babyai")
    session = env.session()
    try:
        await session.reset(env.tasks.task("train", 5))
        result = await session.step(Message("assistant", "dance"))
        assert not result.valid
        assert not result.done
        assert "write one of" in result.messages[0].content
    finally:
        await session.close()


def test_a_wrong_setting_is_refused_before_any_episode():
    with pytest.raises(ConfigError, match="actions"):
        load("babyai", actions="tool")
    with pytest.raises(ConfigError, match="levl"):
        load("babyai", levl="GoToObj")


def test_a_wrong_level_is_refused_before_any_episode():
    with pytest.raises(ConfigError, match="did you mean 'GoToLocal'"):
        load("babyai", level="GotoLocl").tasks.task("train", 0)
