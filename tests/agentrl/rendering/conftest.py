"""Tokenizer folders for the renderers, made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrl.rendering import load_renderer
from agentrl.rendering._hermes import HermesRenderer
from agentrl.rendering._text import TextRenderer
from agentrl_trainers.init_model import init_model

TEXTS = [
    "goal: go to the red ball.",
    "red ball 2 ahead 1 left closed blue door 3 right wall 4 ahead",
    "Reach the goal. Answer with one action: turn left, turn right, go forward, pick up, drop, toggle.",
    json.dumps({"name": "turn_left", "arguments": {"steps": 1}}),
] * 20


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny models with our two templates."""
    root = tmp_path_factory.mktemp("models")
    size = {"hidden": 16, "layers": 1, "heads": 2, "kv_heads": 1, "vocab_size": 600}
    return {
        "text": init_model(root / "text", TEXTS, template="text", **size).path,
        "hermes": init_model(root / "hermes", TEXTS, template="hermes", **size).path,
    }


@pytest.fixture(scope="session")
def hermes(folders: dict[str, Path]) -> HermesRenderer:
    renderer = load_renderer(folders["hermes"], "hermes")
    assert isinstance(renderer, HermesRenderer)
    return renderer


@pytest.fixture(scope="session")
def text(folders: dict[str, Path]) -> TextRenderer:
    renderer = load_renderer(folders["text"], "text")
    assert isinstance(renderer, TextRenderer)
    return renderer


@pytest.fixture
def with_template(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a maker of a folder like the hermes one with another chat template."""

    def make(template: str) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(folders["hermes"], folder)
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        return folder

    return make
