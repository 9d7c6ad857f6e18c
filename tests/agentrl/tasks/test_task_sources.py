"""Task sources: the same task for the same question, and broken rows named by line."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl import ConfigError, JsonlTasks, ListTasks, SeededTasks, Task, TaskError, TaskSource


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tasks.jsonl"


def test_fields_defaults_and_further_fields(file: Path) -> None:
    file.write_text(
        '{"prompt": "a", "answer": 1, "level": "easy"}\n'
        "\n"
        '{"id": 7, "split": "test", "seed": 5, "prompt": ["b"]}\r\n'
        '{"id": "x"}',
        encoding="utf-8-sig",
    )
    source = JsonlTasks(file)
    assert isinstance(source, TaskSource)
    assert source.splits() == ("train", "test")
    assert (source.size("train"), source.size("test")) == (2, 1)
    assert source.task("train", 0) == Task("1", "train", 0, "a", 1, {"level": "easy"})
    assert source.task("train", 0).level == "easy"
    assert source.task("test", 0) == Task("7", "test", 5, ["b"])
    assert source.task("train", 1) == Task("x")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"prompt": ', "expected one JSON object on this line, but column"),
        (b'{"a": 1} {"b": 2}', "column 10: extra data"),
        (b"[1, 2]", r"expected an object .* found list \[1, 2\]"),
        (b'"text"', "expected an object"),
        (b'{"seed": "7"}', "`seed` must be an integer, found str '7'"),
        (b'{"seed": true}', "`seed` must be an integer"),
        (b'{"split": 3}', "`split` must be a non-empty string"),
        (b'{"id": null}', "`id` must be a non-empty string or an integer"),
        (b'{"id": "1"}', "id '1' was used in line 1 already"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_line_is_named_by_its_number(file: Path, line: bytes, message: str) -> None:
    file.write_bytes(b'{"prompt": "fine"}\n\n' + line + b'\n{"prompt": "fine"}\n')
    with pytest.raises(TaskError, match=message) as caught:
        JsonlTasks(file).size("train")
    assert f"{file}:3: " in str(caught.value)


def test_a_missing_file_and_one_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = JsonlTasks("sub/none.jsonl")  # nothing is read before the first question
    with pytest.raises(ConfigError, match=f"no task file 'sub/none.jsonl'; looked for {tmp_path}/sub/none.jsonl"):
        source.splits()
    with pytest.raises(ConfigError, match="cannot be read"):
        JsonlTasks(tmp_path).splits()


def test_an_empty_file_is_an_error(file: Path) -> None:
    file.write_text("\n\n")
    with pytest.raises(TaskError, match="has no tasks"):
        JsonlTasks(file).splits()


@pytest.mark.parametrize("make", ["jsonl", "list", "seeded"])
def test_unknown_splits_and_indices(file: Path, make: str) -> None:
    file.write_text('{"split": "train"}\n{"split": "test"}\n')
    rows = [{"split": "train"}, {"split": "test"}]
    sources: dict[str, TaskSource] = {
        "jsonl": JsonlTasks(file),
        "list": ListTasks(rows),
        "seeded": SeededTasks(lambda split, index: Task(f"{split}-{index}", split), {"train": 1, "test": 1}),
    }
    source = sources[make]
    with pytest.raises(TaskError, match=r"no split 'tset'; it has 'train', 'test'; did you mean 'test'\?"):
        source.size("tset")
    with pytest.raises(TaskError, match="no task 1 in split 'test'; indices are 0 to 0"):
        source.task("test", 1)
    with pytest.raises(TaskError, match="no task -1"):
        source.task("test", -1)


def test_a_file_that_changes_during_use_is_noticed(file: Path) -> None:
    file.write_text('{"prompt": "a"}\n')
    source = JsonlTasks(file)
    assert source.task("train", 0).prompt == "a"
    file.write_text('{"prompt": "b"}\n')
    os.utime(file, ns=(1, 1))
    with pytest.raises(TaskError, match="changed while it was in use"):
        source.task("train", 0)


def test_a_large_file_is_indexed_without_being_held(file: Path) -> None:
    rows, filler = 20_000, "x" * 500
    with file.open("w") as out:
        for number in range(rows):
            out.write(f'{{"id": "task-{number}", "prompt": "{filler}"}}\n')
    source = JsonlTasks(file)
    tracemalloc.start()
    assert source.size("train") == rows
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 40 * rows, f"{held / rows:.0f} bytes a row are kept"
    assert peak < 200 * rows, f"{peak / rows:.0f} bytes a row at the peak"
    assert source.task("train", rows - 1).id == f"task-{rows - 1}"


@given(
    st.lists(
        st.fixed_dictionaries(
            {"prompt": st.text()}, optional={"split": st.sampled_from(["train", "test"]), "note": st.text()}
        ),
        min_size=1,
        max_size=20,
    )
)
def test_a_file_and_a_list_of_the_same_rows_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    import json

    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="")
    from_file, from_list = JsonlTasks(path), ListTasks(rows)
    assert from_file.splits() == from_list.splits()
    for split in from_list.splits():
        assert from_file.size(split) == from_list.size(split)
        for index in range(from_list.size(split)):
            left, right = from_file.task(split, index), from_list.task(split, index)
            assert (left.prompt, left.data, left.split) == (right.prompt, right.data, right.split)
            assert int(left.id) == int(right.id) + 1


def test_lists_walk_their_rows_once_and_only_when_asked() -> None:
    walked: list[int] = []

    def rows() -> Any:
        for number in range(3):
            walked.append(number)
            yield {"prompt": number}

    source = ListTasks(rows())
    assert walked == []
    assert source.size("train") == 3 and source.task("train", 2) == Task("2", prompt=2)
    assert walked == [0, 1, 2]


def test_list_rows_are_checked() -> None:
    with pytest.raises(TaskError, match=r"shop\[1\]: id 'a' was used by shop\[0\] already"):
        ListTasks([Task("a"), {"id": "a"}], "shop").splits()
    with pytest.raises(TaskError, match=r"tasks\[0\]: expected an object"):
        ListTasks(["a"]).splits()


def test_seeded_tasks_are_made_on_demand() -> None:
    source = SeededTasks(lambda split, index: Task(f"{split}-{index}", split, seed=index))
    assert source.splits() == ("train", "test")
    assert source.size("train") is None and source.size("test") == 1000
    assert source.task("train", 10**9).seed == 10**9
    assert source.task("test", 999) == source.task("test", 999)
    with pytest.raises(TaskError, match="no task 1000 in split 'test'"):
        source.task("test", 1000)
    wrong = SeededTasks(lambda split, index: Task(str(index), "train"))
    with pytest.raises(TaskError, match="expected a Task of that split"):
        wrong.task("test", 0)
