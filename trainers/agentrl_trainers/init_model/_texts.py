"""Text of an environment, to train a tokenizer on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING, Any

from agentrl.errors import EnvError
from agentrl.messages import Message, ToolCall

if TYPE_CHECKING:
    from agentrl.env import EnvFactory, EnvSession

_STRAY = 0.2
"""Share of turns played at random, so that refusals and states off the expert's path are read as well."""


async def environment_texts(
    factory: EnvFactory,
    episodes: int = 200,
    *,
    split: str = "train",
    max_turns: int = 16,
    seed: int = 0,
    turn_timeout: float = 60.0,
) -> list[str]:
    """Return what is read and said in some episodes: openings, tools, observations, and the expert's actions.

    An environment without an expert is played at random. The same arguments give the same text, where the environment
    is deterministic.

    Args:
        factory: The environment.
        episodes: Tasks to play, from the first; fewer where the split has fewer.
        split: Split of the tasks.
        max_turns: Turns of an episode.
        seed: Seed of the random actions.
        turn_timeout: Seconds that one call of the environment may take.

    Raises:
        EnvError: The environment fails, or takes longer than `turn_timeout`.
    """
    size = factory.tasks.size(split)
    texts: list[str] = []
    said: list[Message] = []
    for index in range(episodes if size is None else min(episodes, size)):
        task = factory.tasks.task(split, index)
        session = factory.session()
        try:
            async with asyncio.timeout(turn_timeout):
                opening = await session.reset(task)
            texts += [message.content for message in opening.messages]
            texts += [json.dumps(tool, ensure_ascii=False) for tool in opening.tools]
            player = _Player(session, factory.has_expert, opening.tools, said, Random(f"{seed}/{split}/{index}"))
            for _ in range(max_turns):
                async with asyncio.timeout(turn_timeout):
                    message = await player.next(texts)
                    result = await session.step(message)
                texts += [*_spoken(message), *(shown.content for shown in result.messages)]
                if result.done:
                    break
        except TimeoutError as error:
            raise EnvError(
                f"{factory.name}, task {task.id}: a call took longer than {turn_timeout:g} s while its text was read"
            ) from error
        finally:
            await session.close()
    return texts


class _Player:
    """Chooses the next action of an episode: the expert's, or a random one now and then.

    `said` collects the expert's actions over all episodes; random ones are drawn from it.
    """

    def __init__(
        self, session: EnvSession, expert: bool, tools: Iterable[dict[str, Any]], said: list[Message], rng: Random
    ) -> None:
        self._session = session
        self._expert = expert
        self._tools = [tool["function"]["name"] for tool in tools]
        self._said = said
        self._rng = rng

    async def next(self, texts: list[str]) -> Message:
        if self._expert:
            try:
                message = await self._session.demonstrate()
            except EnvError:
                self._expert = False  # lost for the rest of this episode, which still has text to read
            else:
                self._said.append(message)
                if self._rng.random() >= _STRAY:
                    return message
        if self._said:
            return self._rng.choice(self._said)
        if self._tools:
            return Message("assistant", "", (ToolCall(self._rng.choice(self._tools), {}, id="call_0"),))
        words = " ".join(texts[-8:]).split() or ["?"]
        return Message("assistant", self._rng.choice(words))


def _spoken(message: Message) -> list[str]:
    """Return the texts of an assistant message in the forms in which a chat template writes them."""
    calls = [
        f'\n{{"name": "{call.name}", "arguments": {json.dumps(call.arguments or {}, ensure_ascii=False)}}}\n'
        for call in message.tool_calls
    ]
    return [text for text in (message.reasoning or "", message.content, *calls) if text]
