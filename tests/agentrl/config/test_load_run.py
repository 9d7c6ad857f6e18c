"""A wrong run file is answered by one message that says where, what was expected and what was meant."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrl.config import (
    EnvSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    load_run,
    options,
    options_help,
    save_resolved,
)
from agentrl.errors import ConfigError

GOOD = """\
model = "models/tiny"
steps = 5

[[env]]
id = "babyai"
args = {level = "GoToObj"}

[rollout]
group = 4
"""


def write(folder: Path, text: str, name: str = "run.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(folder: Path, text: str, overrides: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run(write(folder, text), overrides)
    return str(caught.value)


def test_reads_what_is_there_and_fills_in_defaults(tmp_path: Path) -> None:
    config = load_run(write(tmp_path, GOOD))
    assert (config.model, config.steps, config.rollout.group) == (Path("models/tiny"), 5, 4)
    assert config.env[0].args == {"level": "GoToObj"}
    assert config.trainer == TrainerSection()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (
            "[rollout]\ngrop = 4",
            ["line 6", "`rollout.grop`", "did you mean `rollout.group`", "trajectories of one task"],
        ),
        ("[trainer]\ngroup = 4", ["`trainer.group`", "did you mean `rollout.group`"]),
        ("[zebra]\nstripes = 4", ["unknown key `zebra`", "the top level has: model"]),
        ("[rollout]\ngroup = '8'", ["line 6", '`rollout.group` = "8"', "a whole number greater than 0", "compared"]),
        ("[rollout]\ngroup = true", ["`rollout.group` = true", "a whole number"]),
        ("[rollout]\ngroup = 2.0", ["`rollout.group` = 2.0", "a whole number"]),
        ("[rollout]\nstaleness = -1", ["`rollout.staleness` = -1", "a whole number at least 0"]),
        ("[rollout]\nrenderer = 'chat'", ['`rollout.renderer` = "chat"', '"hermes", "text"']),
        ("[trainer]\nlr = nan", ["`trainer.lr`", "a number greater than 0", "learning rate"]),
        ("[rollout]\nmax_context = 32", ["rollout.max_tokens = 32 must be smaller than rollout.max_context = 32"]),
        ("rollout = 3", ["`rollout`", "section [rollout]"]),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_what_was_expected(
    tmp_path: Path, wrong: str, expected: list[str]
) -> None:
    head = "model = 'm'\n" + (wrong + "\n" if "\n" not in wrong else "") + "[[env]]\nid = 'babyai'\n\n"
    message = refusal(tmp_path, head + (wrong if "\n" in wrong else ""))
    for part in [str(tmp_path / "run.toml"), *expected]:
        assert part in message
    assert "\n" not in message


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, "steps = 0\n[[env]]\nweight = 0\n[sft]\nnoise = 1.0\n")
    assert "5 mistakes" in message
    for part in ("`model` is missing", "`env.0.id` is missing", "line 1: `steps` = 0", "line 3: `env.0.weight` = 0"):
        assert part in message
    assert "line 5: `sft.noise` = 1.0, expected a number at least 0 and less than 1" in message


@pytest.mark.parametrize(
    ("text", "hint"),
    [("[env]\nid = 'x'", "[[env]] with double brackets"), ("env = []", "one or more [[env]] sections")],
)
def test_a_single_env_table_is_told_to_use_double_brackets(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in refusal(tmp_path, f"model = 'm'\n{text}\n")


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    assert "line 2" in refusal(tmp_path, "model = 'm'\nsteps = = 3\n")


def test_line_numbers_tell_entries_of_a_list_apart(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD + "[[env]]\nid = 3\n")
    assert "line 11: `env.1.id` = 3" in message


def test_a_missing_file_suggests_those_beside_it(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "babyai.toml")
    for wrong in ("babiay.toml", "babyai"):
        with pytest.raises(ConfigError, match=r"does not exist; did you mean .*babyai\.toml\?"):
            load_run(tmp_path / wrong)
    with pytest.raises(ConfigError, match=r"run files there: .*babyai\.toml"):
        load_run(tmp_path / "zzzz.toml")
    with pytest.raises(ConfigError, match="there is no folder"):
        load_run(tmp_path / "nowhere" / "babyai.toml")
    with pytest.raises(ConfigError, match=r"is a folder, expected a run file .*babyai\.toml"):
        load_run(tmp_path)


def test_a_binary_file_is_no_run_file(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes(b"model = '\xff'")
    with pytest.raises(ConfigError, match="byte 9 is not UTF-8"):
        load_run(tmp_path / "run.toml")


def test_command_line_values_win_and_have_the_type_of_their_field(tmp_path: Path) -> None:
    overrides = {
        "trainer.lr": "2e-6",
        "steps": "7",
        "output": "2024",
        "env.0.args.level": "GoToLocal",
        "env.0.args.size": "8",
        "track.tensorboard": "false",
    }
    config = load_run(write(tmp_path, GOOD), overrides)
    assert (config.trainer.lr, config.steps, config.output) == (2e-6, 7, Path("2024"))
    assert config.env[0].args == {"level": "GoToLocal", "size": 8}
    assert config.track.tensorboard is False


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("trainer.lrr", "1", "command line: unknown key `trainer.lrr`; did you mean `trainer.lr`"),
        ("steps", "many", 'command line: `steps` = "many", expected a whole number'),
        ("steps", "3\nseed = 4", "command line: `steps`"),
        ("env.3.id", "x", "there is no entry 3; the run file has 1"),
        ("env.id", "x", "e.g. --env.0.id"),
        ("steps.a", "1", "`steps` is a single value"),
        ("env.0", "x", "--env.0.id"),
        ("a..b", "x", "is no key"),
    ],
)
def test_a_wrong_command_line_value_is_said_to_be_there(tmp_path: Path, key: str, value: str, expected: str) -> None:
    assert expected in refusal(tmp_path, GOOD, {key: value})


toml_values = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.datetimes()
    | st.dates()
    | st.times(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    args=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), toml_values, max_size=3),
    lr=st.floats(min_value=1e-12, max_value=1.0),
    seed=st.integers(-(2**63), 2**63 - 1),
    name=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_the_resolved_file_reads_back_equal(
    tmp_path: Path, args: dict[str, Any], lr: float, seed: int, name: str
) -> None:
    config = RunConfig(
        model=Path("m"),
        seed=seed,
        env=(EnvSection(id=name, args=args), EnvSection(id="other")),
        trainer=TrainerSection(lr=lr),
        rollout=RolloutSection(renderer="text"),
    )
    assert load_run(save_resolved(config, tmp_path / "run")) == config


def test_the_resolved_file_explains_its_fields(tmp_path: Path) -> None:
    text = save_resolved(load_run(write(tmp_path, GOOD)), tmp_path / "run").read_text()
    assert "group = 4  # trajectories of one task that are compared" in text


def test_an_argument_toml_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    config = RunConfig(model=Path("m"), env=(EnvSection(id="x", args={"when": {"of": None}}),))
    with pytest.raises(ConfigError, match=r"`env\.0\.args\.when\.of` = None is a NoneType"):
        save_resolved(config, tmp_path)


def test_every_field_has_a_text_and_is_in_the_help() -> None:
    listed = options_help()
    for option in options():
        assert option.text, f"{option.key} has no description"
        assert option.key in listed
    assert "rollout.group " in listed


def test_dates_and_infinity_survive(tmp_path: Path) -> None:
    args = {"day": datetime.date(2024, 2, 3), "limit": math.inf}
    config = RunConfig(model=Path("m"), env=(EnvSection(id="x", args=args),))
    assert load_run(save_resolved(config, tmp_path)).env[0].args == args
