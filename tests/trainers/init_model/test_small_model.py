"""Small models made from nothing: loadable, learnable, the same each time, and never half-written."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentrl.env import Opening, StepResult
from agentrl.errors import ConfigError, EnvError
from agentrl.messages import Message, ToolCall
from agentrl.tasks import Task
from agentrl_trainers.init_model import environment_texts, init_model

TEXTS = [
    f"{color} {thing} {n} ahead, go forward" for color in ("red", "blue") for thing in ("key", "door") for n in "123"
]
SMALL: dict[str, Any] = {"hidden": 16, "layers": 1, "heads": 2, "kv_heads": 1, "vocab_size": 400}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init_model(tmp_path_factory.mktemp("small") / "model", TEXTS).path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_transformers_loads_it_and_it_starts_undecided(folder: Path) -> None:
    """The folder needs nothing of ours to load; a new policy gives every token about the same chance."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "red key"}], add_generation_prompt=True, return_dict=False
    )
    tokens_BL = torch.tensor([prompt])
    with torch.no_grad():
        logprobs_V = model(tokens_BL).logits[0, -1].log_softmax(-1)
    entropy = -(logprobs_V.exp() * logprobs_V).sum()
    assert entropy > 0.95 * torch.tensor(float(len(tokenizer))).log()
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids("<|end|>")
    assert model.get_input_embeddings().weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.config.tie_word_embeddings


def test_default_size_is_about_a_million(tmp_path: Path) -> None:
    """With a full vocabulary the default is the size that learns on two cores in minutes."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = init_model(tmp_path / "m", [f" {a}{b}{c}" * 2 for a in letters for b in letters for c in letters[:3]])
    assert made.vocabulary == 1024
    assert 0.9e6 < made.parameters < 1.0e6
    assert made.parameters == AutoModelForCausalLM.from_pretrained(made.path).num_parameters()


def test_same_arguments_same_bytes_in_another_process(tmp_path: Path) -> None:
    """A run that is repeated from its seed starts from the very same model, whatever Python hashes."""
    code = (
        "import sys, json; from pathlib import Path; from agentrl_trainers.init_model import init_model;"
        "init_model(Path(sys.argv[1]), json.loads(sys.argv[2]), seed=3, template='hermes', **json.loads(sys.argv[3]))"
    )
    arguments = [str(tmp_path / "one"), json.dumps(TEXTS), json.dumps(SMALL)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    init_model(tmp_path / "other", TEXTS, seed=3, template="hermes", **SMALL)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name
    third = init_model(tmp_path / "third", TEXTS, seed=4, template="hermes", **SMALL).path
    assert (third / "tokenizer.json").read_bytes() == (tmp_path / "one" / "tokenizer.json").read_bytes()
    assert (third / "model.safetensors").read_bytes() != (tmp_path / "one" / "model.safetensors").read_bytes()


def test_making_a_model_leaves_the_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    init_model(tmp_path / "m", TEXTS, **SMALL)
    assert torch.equal(torch.rand(1), expected)


def test_frequent_words_are_one_token(folder: Path) -> None:
    """Training cost is proportional to tokens: a word with the blank before it, or a sign after it, is one."""
    tokens = AutoTokenizer.from_pretrained(folder).tokenize("red door 2 ahead, go forward")
    assert [token.replace("Ġ", " ") for token in tokens] == ["red", " door", " 2", " ahead,", " go", " forward"]


@settings(deadline=None, max_examples=100)
@given(text=st.text())
def test_any_text_survives_the_tokenizer(text: str, tokenizer: Any) -> None:
    """Text the tokenizer was not trained on costs more tokens, but is never lost."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_filled_folder_is_kept_unless_asked(tmp_path: Path) -> None:
    output = tmp_path / "m"
    output.mkdir()
    init_model(output, TEXTS, **SMALL)  # an empty folder is free
    (output / "notes.txt").write_text("mine")
    before = (output / "model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="already holds files"):
        init_model(output, TEXTS, seed=1, **SMALL)
    assert (output / "model.safetensors").read_bytes() == before
    init_model(output, TEXTS, seed=1, overwrite=True, **SMALL)
    assert not (output / "notes.txt").exists()
    assert (output / "model.safetensors").read_bytes() != before


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while writing leaves the old model whole and no half of a new one."""
    output = init_model(tmp_path / "m", TEXTS, **SMALL).path
    before = {path.name: path.read_bytes() for path in output.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.save_pretrained", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        init_model(output, TEXTS, seed=1, overwrite=True, **SMALL)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden": 100, "heads": 3}, "multiple of 6"),
        ({"heads": 4, "kv_heads": 3}, "no multiple of kv_heads"),
        ({"vocab_size": 100}, "too small"),
        ({"layers": 0}, "layers is 0"),
        ({"template": "chatty"}, "text or hermes"),
        ({"family": "other"}, "expected qwen3"),
        ({"max_context": 2}, "holds no conversation"),
    ],
)
def test_wrong_sizes_are_explained_before_any_work(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        init_model(tmp_path / "m", TEXTS, **changes)
    assert not (tmp_path / "m").exists()


def test_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no text"):
        init_model(tmp_path / "m", ["", " \n"])


class Corridor:
    """A small environment behind the session contract: three steps to the door."""

    name = "corridor"
    replayable = True
    max_turns = None
    has_anchors = False

    def __init__(self, expert: bool = True, tools: bool = False, slow: bool = False) -> None:
        self.has_expert = expert
        self.tools = tools
        self.slow = slow
        self.opened: list[CorridorSession] = []

    @property
    def tasks(self) -> Corridor:
        return self

    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def size(self, split: str) -> int | None:
        return 5

    def task(self, split: str, index: int) -> Task:
        return Task(id=f"{split}-{index}", seed=index)

    def session(self) -> CorridorSession:
        self.opened.append(CorridorSession(self))
        return self.opened[-1]


class CorridorSession:
    def __init__(self, corridor: Corridor) -> None:
        self.corridor = corridor
        self.left = 3
        self.closed = False

    async def reset(self, task: Task) -> Opening:
        if self.corridor.slow:
            await asyncio.sleep(60)
        tool = {"type": "function", "function": {"name": "advance", "parameters": {"type": "object"}}}
        return Opening((Message("user", f"A corridor, number {task.seed}."),), (tool,) if self.corridor.tools else ())

    async def step(self, message: Message) -> StepResult:
        moved = message.content == "go forward" or bool(message.tool_calls)
        self.left -= moved
        answer = f"door {self.left} ahead" if moved else "You cannot do that."
        return StepResult((Message("user", answer),), done=self.left <= 0)

    async def demonstrate(self) -> Message:
        if self.corridor.tools:
            return Message("assistant", "", (ToolCall("advance", {}),))
        return Message("assistant", "go forward")

    async def finish(self) -> None:
        return None

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def corridor() -> Iterator[Corridor]:
    corridor = Corridor()
    yield corridor
    assert corridor.opened and all(session.closed for session in corridor.opened)


async def test_environment_text_holds_all_that_is_read_and_said(corridor: Corridor) -> None:
    texts = await environment_texts(corridor, 100)
    assert {"A corridor, number 4.", "go forward", "door 2 ahead", "door 0 ahead"} <= set(texts)
    assert texts == await environment_texts(Corridor(), 100)


async def test_environments_without_an_expert_are_played_at_random() -> None:
    assert "You cannot do that." in await environment_texts(Corridor(expert=False), 5)
    texts = await environment_texts(Corridor(expert=False, tools=True), 5)
    assert '\n{"name": "advance", "arguments": {}}\n' in texts
    assert any('"parameters"' in text for text in texts)


async def test_an_environment_that_hangs_is_named() -> None:
    corridor = Corridor(slow=True)
    with pytest.raises(EnvError, match=r"corridor, task train-0: a call took longer than 0\.05 s"):
        await environment_texts(corridor, 1, turn_timeout=0.05)
    assert corridor.opened[0].closed
