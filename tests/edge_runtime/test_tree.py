import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.tree import MAX_BYTES, Tree, as_integer, cpu_list


def test_text_comes_without_the_nul_of_a_device_tree_and_nothing_is_none(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"Board\n\0")
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "folder").mkdir()
    tree = Tree(tmp_path)
    assert tree.text("model") == "Board"
    assert [tree.text(name) for name in ("empty", "folder", "missing")] == [None, None, None]


def test_a_pipe_or_an_endless_file_does_not_hold_a_reader_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"1" * (MAX_BYTES + 10))
    tree = Tree(tmp_path)
    assert tree.text("pipe") is None
    assert len(tree.text("long") or "") == MAX_BYTES


def test_names_are_in_the_order_people_count(tmp_path: Path) -> None:
    for name in ("cpu10", "cpu2", "cpu0", "cpuidle"):
        (tmp_path / name).mkdir()
    assert Tree(tmp_path).names("", "cpu[0-9]*") == ("cpu0", "cpu2", "cpu10")
    assert Tree(tmp_path).names("nowhere") == ()


def test_a_replayed_machine_runs_no_command_and_answers_what_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "echo-recorded-words").write_text("as recorded\n")
    assert Tree(tmp_path).command("echo", "recorded words") == "as recorded"
    assert Tree(tmp_path).command("echo", "live") is None


def test_this_machines_commands_answer_or_are_none() -> None:
    tree = Tree(remember=True)
    assert tree.command("echo", "live") == "live"
    assert tree.seen == {"commands/echo-live": "live"}
    assert tree.command("false") is None
    assert tree.command("no-such-command-anywhere") is None


def test_a_remembering_tree_keeps_what_it_read_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "b").write_text("2\n")
    tree = Tree(tmp_path, remember=True)
    assert tree.integer("a") == 1
    assert tree.text("missing") is None
    assert tree.seen == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-2,5", (0, 1, 2, 5)), ("0 1 2", (0, 1, 2)), ("7", (7,)), ("", ()), (None, ()), ("a-b", ()), ("1-", ())],
)
def test_lists_of_cpus(text: str | None, expected: tuple[int, ...]) -> None:
    assert cpu_list(text) == expected


@given(st.text(max_size=50))
def test_any_text_is_an_integer_or_none_and_a_list_or_empty(text: str) -> None:
    value = as_integer(text)
    assert value is None or isinstance(value, int)
    assert all(cpu >= 0 for cpu in cpu_list(text))
