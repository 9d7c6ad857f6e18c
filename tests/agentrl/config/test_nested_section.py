"""A section within a section of the run file: read, overridden, written back and explained as any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrl.config import load_run, options_help, save_resolved
from agentrl.errors import ConfigError

RUN = """
model = "models/tiny"
[[env]]
id = "words"
[trainer]
credit = "gae"
[trainer.critic]
kind = "model"
path = "models/critic"
warmup_steps = 4
"""


def test_a_critic_is_read_overridden_and_written_back(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(RUN)
    config = load_run(file, {"trainer.critic.lr": "1e-3", "trainer.critic.kind": "head"})
    critic = config.trainer.critic
    assert (critic.kind, critic.lr, critic.warmup_steps, critic.path) == ("head", 1e-3, 4, Path("models/critic"))
    resolved = save_resolved(config, tmp_path)
    assert load_run(resolved) == config
    assert "[trainer.critic]" in resolved.read_text() and "[trainer.critic]" in options_help()


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("kinds = 'head'", ["`trainer.critic.kinds`", "did you mean `trainer.critic.kind`"]),
        ("kind = 'heads'", ["`trainer.critic.kind`", '"head"']),
        ("lr = 0.0", ["`trainer.critic.lr`", "greater than 0"]),
    ],
)
def test_what_is_wrong_in_it_is_named_by_its_whole_key(tmp_path: Path, line: str, parts: list[str]) -> None:
    file = tmp_path / "run.toml"
    file.write_text(RUN.split("[trainer.critic]", maxsplit=1)[0] + f"[trainer.critic]\n{line}\n")
    with pytest.raises(ConfigError) as error:
        load_run(file)
    for part in parts:
        assert part in str(error.value)
