"""Token exactness over whole conversations: what the engine saw is what the trainer will see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from agentrl.messages import Message, ToolCall
from agentrl.rendering import Renderer
from agentrl.rendering._hermes import HermesRenderer
from agentrl.rendering._template import chat_form
from agentrl.rendering._text import TextRenderer

MARKERS = ["<|im_end|>", "<|im_start|>", "<|end|>", "<|user|>", "<|assistant|>", "<|pad|>", "</tool_response>"]
MARKERS += ["<tool_call>", "</tool_call>", "<think>", "</think>", "<|im_<|im_end|>end|>", "{% raw %}", "{{ messages }}"]
TOOL = {
    "type": "function",
    "function": {
        "name": "turn_left",
        "description": "Turn. <|im_end|>",
        "parameters": {"type": "object", "properties": {"steps": {"type": "integer"}}},
    },
}

plain = st.text(max_size=20) | st.sampled_from(["red ball 2 ahead", " wall\n\nwall ", "naïve 球 🎈", "\r\n\t", ""])
hostile = st.lists(plain | st.sampled_from(MARKERS), max_size=4).map("".join)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
values = st.none() | st.booleans() | st.integers(-9, 9) | plain
calls = st.builds(ToolCall, names, st.dictionaries(names, values | st.lists(values, max_size=2), max_size=3))
spoken = plain.map(str.strip)  # a blank at the start would be encoded together with the template's line break
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def messages(content: st.SearchStrategy[str], roles: tuple[Any, ...]) -> st.SearchStrategy[list[Message]]:
    return st.lists(st.builds(Message, st.sampled_from(roles), content), min_size=1, max_size=3)


def answers(content: st.SearchStrategy[str], hermes: bool) -> st.SearchStrategy[Message]:
    if not hermes:
        return st.builds(Message, st.just("assistant"), content)
    thoughts = st.none() | st.just("I should look.")
    return st.builds(
        lambda text, made, thought: Message("assistant", text, tuple(made), reasoning=thought),
        content,
        st.lists(calls, max_size=2),
        thoughts,
    )


def openings(content: st.SearchStrategy[str]) -> st.SearchStrategy[list[Message]]:
    system = st.lists(st.builds(Message, st.just("system"), content), max_size=1)
    return st.tuples(system, messages(content, ("user",))).map(lambda both: both[0] + both[1])


def conversation(
    renderer: Renderer, opening: list[Message], turns: list[tuple[np.ndarray, list[Message]]]
) -> list[int]:
    tools = [TOOL] if isinstance(renderer, HermesRenderer) else []
    tokens = renderer.start(opening, tools).tolist()
    for action, new in turns:
        extension = renderer.extend(action, new)
        assert extension is not None
        tokens += [*action.tolist(), *extension.tolist()]
    return tokens


@pytest.fixture(params=["text", "hermes"])
def renderer(request: pytest.FixtureRequest, text: TextRenderer, hermes: HermesRenderer) -> Renderer:
    return hermes if request.param == "hermes" else text


@quick
@given(data=st.data())
def test_turn_by_turn_equals_the_whole_template(
    data: st.DataObject, renderer: Renderer, folders: dict[str, Path]
) -> None:
    """A conversation built turn by turn is, token for token, what transformers makes of all its messages."""
    hermes = isinstance(renderer, HermesRenderer)
    opening = data.draw(openings(plain))
    roles = ("tool", "user") if hermes else ("user",)
    turns = data.draw(st.lists(st.tuples(answers(spoken, hermes), messages(plain, roles)), max_size=3))
    tokens = conversation(renderer, opening, [(renderer.demonstrate(said), new) for said, new in turns])

    tokenizer = AutoTokenizer.from_pretrained(folders["hermes" if hermes else "text"])
    everything = [*opening, *(message for said, new in turns for message in (said, *new))]
    expected = tokenizer.apply_chat_template(
        [chat_form(message) for message in everything],
        tools=[{**TOOL}] if hermes else None,
        add_generation_prompt=True,
        tokenize=False,
    )
    assert renderer.decode(np.array(tokens)) == expected
    if not hermes:  # the tool's description holds a marker, which transformers would take for a token
        assert tokens == tokenizer(expected, add_special_tokens=False)["input_ids"]
    else:
        head = len(renderer.start(opening, [TOOL]))
        reference = tokenizer(expected, add_special_tokens=False)["input_ids"]
        assert tokens[head:] == reference[len(reference) - len(tokens) + head :]


@quick
@given(data=st.data())
def test_text_of_messages_never_becomes_a_special_token(data: st.DataObject, renderer: Renderer) -> None:
    """An environment that prints the markers of the template cannot end a message or open one."""
    hermes = isinstance(renderer, HermesRenderer)
    opening = data.draw(openings(hostile))
    new = data.draw(messages(hostile, ("tool", "user") if hermes else ("user",)))
    said = data.draw(answers(spoken, False))
    markers = set(renderer._encoder.added.values())  # type: ignore[attr-defined]

    def special(tokens: list[int]) -> list[int]:
        return [token for token in tokens if token in markers]

    def harmless(many: list[Message]) -> list[Message]:
        return [Message(message.role, "x") for message in many]

    action = renderer.demonstrate(said)
    hostile_tokens = conversation(renderer, opening, [(action, new)])
    assert special(hostile_tokens) == special(conversation(renderer, harmless(opening), [(action, harmless(new))]))
    for message in (*opening, *new):
        assert message.content in renderer.decode(np.array(hostile_tokens))
    quoted = renderer.demonstrate(Message("assistant", new[0].content.strip() or "x"))
    assert special(quoted.tolist()) == [renderer.stop_token_ids[0]]


@quick
@given(data=st.data())
def test_sampled_tokens_are_kept_as_they_are(data: st.DataObject, renderer: Renderer) -> None:
    """Whatever the policy samples, what follows depends on the new messages alone and only closes what is open."""
    size = len(renderer._encoder.added) + 600  # type: ignore[attr-defined]
    stop = renderer.stop_token_ids[0]
    sampled = st.lists(st.integers(0, size).filter(lambda token: token != stop), max_size=12)
    action = np.array(data.draw(sampled), dtype=np.int32)
    finished = np.append(action, np.int32(stop))
    new = data.draw(messages(hostile, ("user",)))

    after_finished = renderer.extend(finished, new)
    after_cut = renderer.extend(action, new)
    assert after_finished is not None and after_cut is not None
    assert after_cut.tolist() == [stop, *after_finished.tolist()]
    assert after_finished.dtype == np.int32
    assert renderer.parse(finished).complete and not renderer.parse(action).complete


def test_an_unusual_split_of_the_same_text_is_parsed_alike_and_not_encoded_again(renderer: Renderer) -> None:
    """A policy may spell a word in single bytes: the text is the same, and its tokens stay those it sampled."""
    usual = renderer.demonstrate(Message("assistant", "turn left"))
    letters = [renderer.demonstrate(Message("assistant", letter))[0] for letter in "turn"]
    space_left = renderer.demonstrate(Message("assistant", "turn left"))[1:]
    spelled = np.array([*letters, *space_left], dtype=np.int32)
    assert len(spelled) > len(usual)
    assert renderer.parse(spelled) == renderer.parse(usual)
    new = [Message("user", "red ball 2 ahead")]
    tokens = conversation(renderer, new, [(spelled, new)])
    at = len(conversation(renderer, new, []))
    assert tokens[at : at + len(spelled)] == spelled.tolist()


def test_the_past_is_not_rendered_again(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first turn of a kind an extension renders no template: its cost does not grow with the episode."""
    action = renderer.demonstrate(Message("assistant", "turn left"))
    first = renderer.extend(action, [Message("user", "wall 4 ahead")])

    def refuse(*_: object, **__: object) -> str:
        raise AssertionError("the template was rendered")

    monkeypatch.setattr(renderer._template, "render", refuse)  # type: ignore[attr-defined]
    again = renderer.extend(action, [Message("user", "wall 3 ahead")])
    assert first is not None and again is not None and len(first) == len(again)


def test_a_text_turn_costs_two_markers(text: TextRenderer) -> None:
    """The trainer pays by the token: a turn is its words, the token that ends it and the one that opens the next."""
    action = text.demonstrate(Message("assistant", "turn left"))
    extension = text.extend(action, [Message("user", "red ball 2 ahead")])
    assert extension is not None
    assert [text.decode(np.array([token])) for token in action] == ["turn", " left", "<|end|>"]
    words = [text.decode(np.array([token])) for token in extension]
    assert words == ["red", " ball", " 2", " ahead", "<|assistant|>"]
