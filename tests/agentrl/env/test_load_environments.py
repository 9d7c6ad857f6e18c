"""`agentrl.load`: files, modules, entry points, settings, and what a typo tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

import agentrl
from agentrl import ConfigError, Env, JsonlTasks, Message, PrerequisiteError, SeededTasks, Task, TaskError
from agentrl.testing import CountdownDouble

SHOP = '''
from __future__ import annotations
import agentrl as rl
from neighbour import GREETING

class Shop(rl.Env):
    """Buy exactly what the customer asks for."""
    tasks = "shop.jsonl"
    replayable = True
    max_turns = 5

    def __init__(self, level: int = 1) -> None:
        self.level = level

    def reset(self, task):
        self.cart = []
        return GREETING + task.prompt

    @rl.tool
    def add(self, item: str, qty: int = 1) -> str:
        """Put an item in the cart.

        Args:
            item: Exact catalogue name.
            qty: Number of pieces.
        """
        self.cart += [item] * qty
        return f"cart: {self.cart}"

    @rl.reward
    def exact(self, task) -> float:
        return float(self.cart == task.answer)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    (tmp_path / "neighbour.py").write_text("GREETING = 'Please: '\n")
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "shop.jsonl").write_text('{"prompt": "Buy tea.", "answer": ["tea"]}\n')
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


async def test_the_fifteen_lines_of_the_design_run(folder: Path) -> None:
    shop = agentrl.load("shop.py:Shop", level="3")
    assert (shop.name, shop.replayable, shop.max_turns, shop.has_expert) == ("shop.py:Shop", True, 5, False)
    task = shop.tasks.task("train", 0)
    session = shop.session()
    assert (await session.reset(task)).messages == (Message("user", "Please: Buy tea."),)
    assert session.env.level == 3
    call = agentrl.ToolCall("add", {"item": "tea"}, id="1")
    await session.step(Message("assistant", "", tool_calls=(call,)))
    assert (await session.step(Message("assistant", "done"))).done
    assert (await session.finish()).reward == 1.0
    await session.close()


def test_task_paths_count_from_the_defining_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert agentrl.load("../shop.py").tasks.size("train") == 1
    assert agentrl.load("../shop.py").env_class is agentrl.load(str(folder / "shop.py:Shop")).env_class


def test_a_module_and_a_class(folder: Path) -> None:
    from_module = agentrl.load("shop:Shop")
    assert from_module.name == "shop:Shop" and from_module.tasks.size("train") == 1
    assert agentrl.load(from_module.env_class, level=2).settings == {"level": 2}


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("shopp.py:Shop", r"no file 'shopp.py'; looked for .*shopp.py; did you mean 'shop.py'"),
        ("shop.py:Shopp", r"shop.py has no class 'Shopp'; did you mean 'Shop'"),
        ("shop:Shopp", "did you mean 'Shop'"),
        ("shop.py:GREETING", "no subclass of agentrl.Env"),
        ("no_such_package.module:Shop", "no module 'no_such_package'"),
        ("neighbour.py", "defines no environment"),
        ("neighbour:Env", "has no class 'Env'"),
        ("babyay", "did you mean 'babyai'"),
        ("gym:FrozenLake-v1", "no environment 'gym:FrozenLake-v1'"),
        ("", "no environment ''"),
    ],
)
def test_typos_get_the_nearest_name(folder: Path, ref: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        agentrl.load(ref)


def test_a_file_with_two_environments_asks_which(folder: Path) -> None:
    (folder / "two.py").write_text(SHOP + "\nclass Other(Shop):\n    pass\n\nclass _Hidden(Shop):\n    pass\n")
    with pytest.raises(ConfigError, match=r"defines Shop, Other; say which one, such as two.py:Shop"):
        agentrl.load("two.py")
    assert agentrl.load("two.py:_Hidden").env_class.__name__ == "_Hidden"


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("class A(:\n", ConfigError, r"bad.py:1: "),
        ("x = 1\ny = x / 0\n", ConfigError, r"bad.py:2: .*ZeroDivisionError"),
        ("import no_such_package_anywhere\n", PrerequisiteError, "pip install no_such_package_anywhere"),
        (
            "import agentrl\nclass A(agentrl.Env):\n    @agentrl.tool\n    def a(self): return 1\n",
            ConfigError,
            r"bad.py:3: tool 'a' has no docstring",
        ),
    ],
)
def test_a_broken_file_names_the_line(folder: Path, code: str, error: type[Exception], message: str) -> None:
    (folder / "bad.py").write_text(code)
    for _ in range(2):  # a failed import leaves nothing half-made behind
        with pytest.raises(error, match=message):
            agentrl.load("bad.py")


def distribution(folder: Path, name: str, extras: str, entry_points: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{extras}")
    (info / "entry_points.txt").write_text(f"[agentrl.environments]\n{entry_points}")


def test_entry_points_of_installed_distributions(folder: Path) -> None:
    (folder / "needy.py").write_text("import no_such_package_anywhere\n")
    points = (
        "toyshop = shop:Shop\nneedy = needy:Needy\nbare = needy:Needy\ngone = no_such_module:X\nwrong = shop:Nope\n"
    )
    distribution(folder, "toyshops", "Provides-Extra: needy\n", points + "greeting = neighbour:GREETING\n")
    shop = agentrl.load("toyshop", level=4)
    assert shop.name == "toyshop" and shop.settings == {"level": 4}
    with pytest.raises(PrerequisiteError, match=r"no_such_package_anywhere.*pip install 'toyshops\[needy\]'"):
        agentrl.load("needy")
    with pytest.raises(PrerequisiteError, match="pip install no_such_package_anywhere"):
        agentrl.load("bare")
    with pytest.raises(ConfigError, match="no module no_such_module"):
        agentrl.load("gone")
    with pytest.raises(ConfigError, match="cannot be imported"):
        agentrl.load("wrong")
    with pytest.raises(ConfigError, match="no subclass"):
        agentrl.load("greeting")
    with pytest.raises(ConfigError, match="did you mean 'toyshop'"):
        agentrl.load("toyshp")


def test_what_our_own_environments_lack_is_an_extra(folder: Path) -> None:
    (folder / "needy.py").write_text("import no_such_package_anywhere\n")
    distribution(folder, "agentrl", "", "worldly = needy:Needy\n")
    with pytest.raises(PrerequisiteError, match=r"pip install 'agentrl\[worldly\]'"):
        agentrl.load("worldly")


class Settled(Env):
    tasks: ClassVar[Any] = [{"prompt": "x"}]

    def __init__(self, level: Literal["easy", "hard"] = "easy", size: int = 8, *, root: Path = Path()) -> None:
        self.size = size

    def act(self, text: str) -> str:
        return text


def test_settings_are_coerced() -> None:
    assert agentrl.load(Settled, level="hard", size="9", root="/tmp").settings == {
        "level": "hard",
        "size": 9,
        "root": Path("/tmp"),
    }
    assert agentrl.load(Settled).settings == {}, "defaults stay with the constructor"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levl": "hard"}, r"Settled: unknown argument 'levl' \(did you mean 'level'\?\)\. Its"),
        ({"level": "hrad"}, "'level': input should be 'easy' or 'hard', got 'hrad'"),
        ({"size": "big"}, "'size': input should be a valid integer"),
    ],
)
def test_wrong_settings_show_the_signature(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        agentrl.load(Settled, **settings)
    assert "Its settings are (level: Literal['easy', 'hard'] = 'easy', size: int = 8" in str(caught.value)


def test_settings_of_a_class_without_constructor_or_with_open_ones() -> None:
    class Plain(Env):
        def act(self, text: str) -> str:
            return text

    class Open(Settled):
        def __init__(self, bonus: float = 0.0, **rest: Any) -> None:
            super().__init__(**rest)

    with pytest.raises(ConfigError, match="takes no settings, but was given 'level'"):
        agentrl.load(Plain, level=1)
    assert agentrl.load(Open, bonus="1.5", size=3).settings == {"bonus": 1.5, "size": 3}


def test_what_is_no_environment_is_refused() -> None:
    class Idle(Env):
        pass

    class Turns(Settled):
        max_turns = 0

    with pytest.raises(ConfigError, match="nothing to do"):
        agentrl.load(Idle)
    with pytest.raises(ConfigError, match="max_turns is 0"):
        agentrl.load(Turns)
    with pytest.raises(ConfigError, match="no subclass"):
        agentrl.load(int)


def test_what_the_constructor_refuses_is_found_before_any_episode() -> None:
    class Levels(Settled):
        def __init__(self, level: str = "one", turns: int = 3) -> None:
            if level != "one":
                raise ValueError(f"no level {level!r}")
            self.max_turns = turns

    assert agentrl.load(Levels, turns=7).max_turns == 7, "a setting may decide what the environment declares"
    with pytest.raises(ConfigError, match="Levels: its constructor raised ValueError: no level 'two'"):
        agentrl.load(Levels, level="two")
    with pytest.raises(ConfigError, match="max_turns is 0"):
        agentrl.load(Levels, turns=0)


def source_of(declared: Any) -> agentrl.TaskSource:
    return agentrl.load(type("Tasked", (Settled,), {"tasks": declared})).tasks


def test_every_way_to_name_tasks(tmp_path: Path) -> None:
    rows = [{"prompt": "a"}, Task("b", split="test")]
    seeded = SeededTasks(lambda split, index: Task(f"{split}-{index}", split))

    class Dependent(Settled):
        @property
        def tasks(self) -> list[dict[str, int]]:
            return [{"seed": seed} for seed in range(self.size)]

    class Method(Settled):
        def tasks(self) -> SeededTasks:
            return seeded

    class ClassMethod(Settled):
        @classmethod
        def tasks(cls) -> SeededTasks:
            return seeded

    assert source_of(rows).splits() == ("train", "test")
    assert source_of(iter(rows)).size("test") == 1
    assert source_of(seeded) is seeded
    assert source_of(JsonlTasks(tmp_path / "x.jsonl")).path == tmp_path / "x.jsonl"
    assert agentrl.load(Dependent, size=3).tasks.size("train") == 3
    assert agentrl.load(Method).tasks is seeded and agentrl.load(ClassMethod).tasks is seeded
    assert agentrl.load(CountdownDouble).tasks.size("train") is None


def test_tasks_that_are_none() -> None:
    def broken(cls: type[Env]) -> None:
        raise OSError("no disk")

    class Without(Env):
        def act(self, text: str) -> str:
            return text

    with pytest.raises(ConfigError, match="Without has no tasks; set the class attribute"):
        _ = agentrl.load(Without).tasks
    with pytest.raises(ConfigError, match="tasks gives 3"):
        source_of(3)
    with pytest.raises(ConfigError, match="OSError: no disk"):
        source_of(classmethod(broken))
    with pytest.raises(TaskError, match=r"Tasked.tasks\[1\]: expected an object"):
        source_of([{}, "row"]).size("train")


def test_a_missing_task_file_says_where_it_was_looked_for(folder: Path) -> None:
    (folder / "shop.jsonl").unlink()
    shop = agentrl.load("shop.py")
    with pytest.raises(ConfigError, match=f"looked for {folder}/shop.jsonl"):
        shop.tasks.size("train")
