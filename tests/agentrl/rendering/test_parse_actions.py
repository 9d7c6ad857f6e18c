"""What a policy wrote, as a message: lenient, never raising, with errors that tell the agent what to do."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrl.messages import Message, ToolCall
from agentrl.rendering import ParsedAction, Renderer
from agentrl.rendering._hermes import HermesRenderer
from agentrl.rendering._text import TextRenderer

PIECES = [
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "\n",
    "{",
    "}",
    '"name"',
    ": ",
    '"a"',
    '"arguments"',
    ",",
]
PIECES += ["[", "]", "turn", " left", "\\ud800", "NaN", "1" * 5000, "[" * 3000, "'", "\\", "é", "null", "<|im_end|>"]
quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def parse(renderer: Renderer, text: str) -> ParsedAction:
    """Parse text as if a policy had sampled it, tags as their own tokens."""
    encoder = renderer._encoder  # type: ignore[attr-defined]
    return renderer.parse(np.array([*encoder.template(text), renderer.stop_token_ids[0]], dtype=np.int32))


@pytest.fixture(params=["text", "hermes"])
def renderer(request: pytest.FixtureRequest, text: TextRenderer, hermes: HermesRenderer) -> Renderer:
    return hermes if request.param == "hermes" else text


@quick
@given(tokens=st.lists(st.integers(0, 700), max_size=60))
def test_random_tokens_never_raise(tokens: list[int], renderer: Renderer) -> None:
    """A policy at the start of its training, with ids its tokenizer does not even have, cannot stop the run."""
    parsed = renderer.parse(np.array(tokens, dtype=np.int32))
    assert parsed.message.role == "assistant"
    parsed.text.encode("utf-8")
    renderer.start([Message("user", "x"), parsed.message, Message("user", "y")])


@quick
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=25))
def test_broken_grammar_never_raises_and_can_be_shown_again(pieces: list[str], hermes: HermesRenderer) -> None:
    """Every outcome can be stored as JSON, and rendered again when the context is rebuilt."""
    message = parse(hermes, "".join(pieces)).message
    json.dumps(message.to_openai(), ensure_ascii=False).encode("utf-8")
    for call in message.tool_calls:
        assert (call.error is None) == (call.arguments is not None)
        assert call.error is not None or call.name
    hermes.start([Message("user", "x"), message, Message("user", "y")])


names = st.from_regex(r"[a-z_]{1,10}", fullmatch=True)
text_values = st.text(max_size=15) | st.sampled_from(["</tool_call>", "<tool_call>", "</think>", "<|im_end|>", '"}}'])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | text_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@quick
@given(
    content=st.sampled_from(["", "I turn.", "One.\nTwo."]),
    calls=st.lists(st.builds(ToolCall, names, st.dictionaries(text_values, values, max_size=3)), max_size=3),
    reasoning=st.none() | st.sampled_from(["Left is free.", "a\n\nb"]),
)
def test_what_is_demonstrated_is_what_is_parsed(
    content: str, calls: list[ToolCall], reasoning: str | None, hermes: HermesRenderer
) -> None:
    """An expert's calls survive the way through tokens, even where an argument quotes the grammar's own tags."""
    message = Message("assistant", content, tuple(calls), reasoning=reasoning)
    parsed = hermes.parse(hermes.demonstrate(message))
    assert parsed.message == message
    assert parsed.complete


@pytest.mark.parametrize(
    ("body", "name", "error"),
    [
        ('{"name": "go", "arguments": {"to": "door"}', "", "cut off"),
        ('{"name": "go", "arguments": {"to": door}}</tool_call>', "", "not valid JSON"),
        ('{"arguments": {}}</tool_call>', "", 'no "name"'),
        ('{"name": "go", "arguments": [1]}</tool_call>', "go", "must be a JSON object, not a list"),
        ('{"name": "go", "arguments": "door"}</tool_call>', "go", "holds no JSON object"),
        ('{"name": "go", "arguments": {"x": NaN}}</tool_call>', "", "NaN is not a JSON value"),
        ('"go"</tool_call>', "", "not a string"),
        ('{"name": "go", "arguments": {"x": 1e999}}</tool_call>', "", "too large"),
        ('{"name": "go", "arguments": {"x": 18446744073709551616}}</tool_call>', "", "too large"),
        ('{"name": "go", "arguments": ' + "[" * 90 + "]" * 90 + "}</tool_call>", "", "nested too deeply"),
        ("[" * 5000 + "</tool_call>", "", "nested too deeply"),
        ('{"name": "go"} now</tool_call>', "go", "text after"),
        ("</tool_call>", "", "not valid JSON"),
    ],
)
def test_a_malformed_call_is_kept_with_advice(hermes: HermesRenderer, body: str, name: str, error: str) -> None:
    """The agent is told what was wrong and what the form is; what it said stays in the content."""
    message = parse(hermes, f"I go. <tool_call>{body}").message
    (call,) = message.tool_calls
    assert call.arguments is None and call.error is not None
    assert call.name == name
    assert error in call.error and '{"name": "tool"' in call.error
    assert message.content == f"I go. <tool_call>{body}"


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "go", "arguments": {"to": "the\\ndoor"}}',
        '\n {"name": "go", "arguments": {"to": "the\ndoor"}} \n',
        '{"arguments": "{\\"to\\": \\"the\\\\ndoor\\"}", "name": " go "}',
        '{"name": "go", "parameters": {"to": "the\\ndoor"}}',
    ],
)
def test_slips_with_a_plain_meaning_are_accepted(hermes: HermesRenderer, body: str) -> None:
    """Raw line breaks, arguments as a string, blanks, and a closing tag that was cut off still make a call."""
    for text in (f"<tool_call>{body}</tool_call>", f"<tool_call>{body}", f"<tool_call>{body}<tool_call>{body}"):
        calls = parse(hermes, text).message.tool_calls
        assert {call.name for call in calls} == {"go"}
        assert all(call.arguments == {"to": "the\ndoor"} and call.error is None for call in calls)


def test_half_of_a_character_does_not_break_what_stores_it(hermes: HermesRenderer) -> None:
    """JSON can spell half of a surrogate pair, which no file or database takes."""
    body = '{"name": "go\\ud800", "arguments": {"\\udfff": "\\ud83c\\udf88"}}'
    for text in (f"<tool_call>{body}</tool_call>", f"<tool_call>{body} now</tool_call>"):
        (call,) = parse(hermes, text).message.tool_calls
        assert call.name == "go\ufffd"
        assert call.arguments in ({"\ufffd": "🎈"}, None)


def test_a_call_without_arguments_is_a_call_with_none(hermes: HermesRenderer) -> None:
    """`{"name": "look"}` is what a tool without parameters needs."""
    assert parse(hermes, '<tool_call>{"name": "look"}</tool_call>').message.tool_calls == (ToolCall("look", {}),)


def test_good_calls_beside_a_bad_one_are_carried_out(hermes: HermesRenderer) -> None:
    """One slip does not cost the agent its other calls."""
    good = '<tool_call>{"name": "look", "arguments": {}}</tool_call>'
    message = parse(hermes, f"{good}<tool_call>{{oops</tool_call>{good}").message
    assert [call.error is None for call in message.tool_calls] == [True, False, True]
    assert message.content == "<tool_call>{oops</tool_call>"


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>\nwhy\n</think>\n\nleft", "why", "left"),
        ("why\n</think>\n\nleft", "why", "left"),
        ("<think>\nwhy", "why", ""),
        ("left", None, "left"),
        (
            '<think>a <tool_call>{"name": "no"}</tool_call></think>left',
            'a <tool_call>{"name": "no"}</tool_call>',
            "left",
        ),
    ],
)
def test_reasoning_is_no_content_and_calls_nothing(
    hermes: HermesRenderer, text: str, reasoning: str | None, content: str
) -> None:
    """A thought, also one that was cut off, is never taken for an answer or a call."""
    message = parse(hermes, text).message
    assert (message.reasoning, message.content, message.tool_calls) == (reasoning, content, ())


def test_text_actions_are_taken_as_they_are(text: TextRenderer) -> None:
    """In a text game nothing is a call, and nothing is stripped."""
    said = parse(text, ' say <tool_call>{"name": "x"}</tool_call> <think>')
    assert said.message == Message("assistant", ' say <tool_call>{"name": "x"}</tool_call> <think>')
    assert said.text == said.message.content
