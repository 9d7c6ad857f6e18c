"""Chat templates unlike our own: what is found out about them when a folder is opened and a turn is rendered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from agentrl.errors import ConfigError
from agentrl.messages import Message, ToolCall
from agentrl.rendering import load_renderer
from agentrl.rendering._hermes import HermesRenderer
from agentrl.rendering._template import chat_form
from agentrl.rendering._text import TextRenderer

MakeFolder = Callable[[str], Path]

CALLS = (
    "{% for c in m.tool_calls or [] %}\n<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}'
)
OPEN, SHUT = "<|im_start|>{{ m.role }}\n", "<|im_end|>\n"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

# Like Qwen3: thoughts are dropped once a user speaks again, and an empty one is put into a last answer without any.
FORGETFUL = (
    "{% set q = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set q.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}" + OPEN + "{% if m.role == 'assistant' %}"
    "{% set thought = m.reasoning_content or '' %}{% set said = m.content %}"
    "{% if '</think>' in said %}{% set thought = said.split('</think>')[0].split('<think>')[-1].strip() %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if loop.index0 > q.last and (loop.last or thought) %}<think>\n{{ thought }}\n</think>\n\n{% endif %}"
    "{{ said }}" + CALLS + "{% else %}{{ m.content }}{% endif %}" + SHUT + "{% endfor %}" + ASK
)
TRIMMING = "{% for m in messages %}" + OPEN + "{{ m.content | trim }}" + CALLS + SHUT + "{% endfor %}" + ASK
QUOTING = (
    "{% for m in messages %}" + OPEN + "{% if m.role == 'tool' %}"
    '{"id": {{ m.tool_call_id | tojson }}, "name": "{{ m.name }}", "content": {{ m.content | tojson }}}'
    "{% else %}{{ m.content }}" + CALLS + "{% endif %}" + SHUT + "{% endfor %}" + ASK
)
XML_CALLS = (
    "{% for m in messages %}" + OPEN + "{{ m.content }}{% for c in m.tool_calls or [] %}"
    "<tool_call><function={{ c.function.name }}></function></tool_call>{% endfor %}" + SHUT + "{% endfor %}" + ASK
)

THOUGHT = Message("assistant", "I look.", (ToolCall("look", {}),), reasoning="Where?")
SILENT = Message("assistant", "I look.", (ToolCall("look", {}),))


def full(folder: Path, messages: list[Message]) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [chat_form(message) for message in messages]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def by_turns(renderer: HermesRenderer, opening: list[Message], said: Message, new: list[Message]) -> list[int] | None:
    action = renderer.demonstrate(said)
    extension = renderer.extend(action, new)
    return None if extension is None else np.concatenate([renderer.start(opening), action, extension]).tolist()


def opened(folder: Path) -> HermesRenderer:
    renderer = load_renderer(folder)
    assert isinstance(renderer, HermesRenderer)
    return renderer


def test_a_template_that_forgets_thoughts_asks_for_a_new_segment(with_template: MakeFolder) -> None:
    """Tokens that the template takes back later are never kept in silence: the caller opens a new segment."""
    folder = with_template(FORGETFUL)
    renderer = opened(folder)
    question, more, answer = [Message("user", "q")], [Message("user", "more")], [Message("tool", "a ball")]
    assert by_turns(renderer, question, THOUGHT, more) is None
    assert by_turns(renderer, question, THOUGHT, answer) == full(folder, [*question, THOUGHT, *answer])
    for new in (more, answer):
        assert by_turns(renderer, question, SILENT, new) == full(folder, [*question, SILENT, *new])
    cut_in_thought = renderer.demonstrate(THOUGHT)[:4]
    assert renderer.extend(cut_in_thought, more) is None


@pytest.mark.parametrize("content", [" \n wall <|im_end|> ", "", 'a "quoted" word\n'])
@pytest.mark.parametrize("template", [TRIMMING, QUOTING], ids=["trims", "quotes"])
def test_a_template_that_changes_content_is_followed(with_template: MakeFolder, template: str, content: str) -> None:
    """Where a template trims or escapes messages, so do the tokens of a new turn; markers in them stay text."""
    folder = with_template(template)
    renderer = opened(folder)
    question, new = [Message("user", "q")], [Message("tool", content, tool_call_id='call"1', name="look")]
    tokens = by_turns(renderer, question, SILENT, new)
    assert tokens is not None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [chat_form(message) for message in (*question, SILENT, *new)]
    expected = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert renderer.decode(np.array(tokens)) == expected
    assert tokens.count(renderer.stop_token_ids[0]) == 3


def test_other_tool_grammars_are_refused_at_once(with_template: MakeFolder) -> None:
    """A model whose calls we could not read is refused before the run, not by a reward of zero."""
    with pytest.raises(ConfigError, match="function=look_up"):
        load_renderer(with_template(XML_CALLS), "hermes")


def test_a_template_without_an_end_token_is_refused(with_template: MakeFolder) -> None:
    with pytest.raises(ConfigError, match="special token that the policy can sample"):
        load_renderer(with_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}" + ASK))


def test_a_template_that_refuses_a_role_names_it(with_template: MakeFolder) -> None:
    strict = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    renderer = opened(with_template(strict + OPEN + "{{ m.content }}" + CALLS + SHUT + "{% endfor %}" + ASK))
    with pytest.raises(ConfigError, match="roles system, user: no system here"):
        renderer.start([Message("system", "s"), Message("user", "q")])


def test_the_kind_is_read_from_the_folder(folders: dict[str, Path]) -> None:
    assert isinstance(load_renderer(folders["text"]), TextRenderer)
    assert isinstance(load_renderer(folders["hermes"]), HermesRenderer)


def test_tools_are_not_dropped_in_silence(text: TextRenderer) -> None:
    """An agent that must call tools would never see them through the text renderer."""
    with pytest.raises(ConfigError, match='renderer = "hermes"'):
        text.start([Message("user", "q")], [{"type": "function", "function": {"name": "look"}}])


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tokenizer.json", None, "holds no tokenizer.json"),
        ("tokenizer.json", "{}", "cannot be read"),
        (
            "tokenizer.json",
            '{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}}',
            "cannot be read",
        ),
        ("chat_template.jinja", None, "no chat template"),
        ("chat_template.jinja", "{% for", "refuses"),
    ],
)
def test_damaged_folders_are_named(with_template: MakeFolder, file: str, content: str | None, said: str) -> None:
    folder = with_template(TRIMMING)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as caught:
        load_renderer(folder)
    assert str(folder) in str(caught.value)


def test_importing_the_package_stays_light() -> None:
    """The command line imports this module; it must not wait for transformers."""
    code = "import agentrl.rendering, sys; print({'torch', 'transformers', 'tokenizers', 'jinja2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
