"""The README's code and commands work as a newcomer would use them, in an empty folder."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agentrl import Message, ToolCall, load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands(block: str) -> list[list[str]]:
    return [words for line in block.splitlines() if (words := shlex.split(line, comments=True))]


def run(words: list[str], folder: Path) -> str:
    program = {"agentrl": str(Path(sys.executable).with_name("agentrl"))}.get(words[0], words[0])
    found = subprocess.run(
        [program, *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"COLUMNS": "120"},
    )
    assert found.returncode == 0, f"{shlex.join(words)}\n{found.stdout}\n{found.stderr}"
    return found.stdout


def test_the_first_two_commands_are_targets_of_make() -> None:
    first = commands(blocks("sh")[0])
    assert first == [["make", "quickstart"], ["make", "test"]]
    for words in first:
        assert "agentrl" in run(["make", "--dry-run", *words[1:]], ROOT) or words[1] == "test"


def test_the_shop_is_played_by_its_tools(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(blocks("python")[0], encoding="utf-8")
    row = re.search(r"`(\{.*?\})`", README)
    assert row is not None
    (tmp_path / "shop.jsonl").write_text(row[1] + "\n", encoding="utf-8")
    shop = load(f"{tmp_path / 'shop.py'}")

    async def buy() -> float | None:
        session = shop.session()
        try:
            opening = await session.reset(shop.tasks.task("train", 0))
            assert [tool["function"]["name"] for tool in opening.tools] == ["add"]
            call = ToolCall("add", {"item": "pear", "quantity": 2}, "1")
            answered = await session.step(Message("assistant", "", (call,)))
            assert "pear" in answered.messages[0].content
            assert (await session.step(Message("assistant", "done"))).done
            return (await session.finish()).reward
        finally:
            await session.close()

    assert asyncio.run(buy()) == 1.0


@pytest.mark.slow
def test_the_commands_lead_from_a_run_file_to_a_report(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(blocks("toml")[0], encoding="utf-8")
    said = {shlex.join(words): run(words, tmp_path) for words in commands(blocks("sh")[1])}
    assert "3 steps done" in said["agentrl train run.toml --model runs/example/warm"]
    assert "trainer.lr" in said["agentrl train --help-config"]
    assert (tmp_path / "runs/example/train/checkpoints/step-000003/model/config.json").is_file()
    assert "finished" in said["agentrl runs runs/example"]
    assert "success" in said["agentrl eval run.toml"]
    assert "100.0%" in said["agentrl eval babyai --policy oracle --limit 50"]
