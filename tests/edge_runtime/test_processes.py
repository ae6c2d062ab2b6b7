import os
from pathlib import Path

from edge_runtime.processes import Busy, Process, busy, process, processes
from edge_runtime.tree import Tree


def stat(root: Path, pid: int, name: str, *, ticks: tuple[int, int], started: int = 5) -> Tree:
    fields = ["S", *["0"] * 10, str(ticks[0]), str(ticks[1]), *["0"] * 6, str(started), "0"]
    (root / f"proc/{pid}").mkdir(parents=True, exist_ok=True)
    (root / f"proc/{pid}/stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
    return Tree(root)


def test_a_program_may_be_called_what_it_likes(tmp_path: Path) -> None:
    found = process(stat(tmp_path, 7, "a) S 1 (b", ticks=(3, 4)), "7")
    assert found == Process(pid=7, name="a) S 1 (b", started=5, cpu_ms=70)


def test_shares_come_from_two_readings_busiest_first(tmp_path: Path) -> None:
    for pid, name, ticks in ((1, "idle", 50), (2, "slow", 10), (3, "fast", 0)):
        tree = stat(tmp_path, pid, name, ticks=(ticks, 0))
    before = processes(tree)
    for pid, name, ticks in ((1, "idle", 50), (2, "slow", 20), (3, "fast", 90)):
        stat(tmp_path, pid, name, ticks=(ticks, 10 if pid == 3 else 0))
    assert busy(before, processes(tree), elapsed_ms=1000) == (
        Busy(pid=3, name="fast", cpu_hundredths=100),
        Busy(pid=2, name="slow", cpu_hundredths=10),
    )
    assert [one.pid for one in busy(before, processes(tree), elapsed_ms=1000, without=3)] == [2]


def test_a_number_that_was_given_again_counts_from_its_own_start(tmp_path: Path) -> None:
    tree = stat(tmp_path, 9, "old", ticks=(500, 0))
    before = processes(tree)
    stat(tmp_path, 9, "new", ticks=(20, 0), started=6)
    assert busy(before, processes(tree), elapsed_ms=400) == (Busy(pid=9, name="new", cpu_hundredths=50),)


def test_a_process_that_is_gone_or_garbled_is_left_out(tmp_path: Path) -> None:
    stat(tmp_path, 1, "fine", ticks=(1, 1))
    for pid, text in ((2, ""), (3, "3 (short) S 1"), (4, "x (y) " + "z " * 30)):
        (tmp_path / f"proc/{pid}").mkdir()
        (tmp_path / f"proc/{pid}/stat").write_text(text)
    assert list(processes(Tree(tmp_path))) == [1]


def test_this_process_is_among_those_of_this_machine() -> None:
    own = processes(Tree())[os.getpid()]
    assert own.cpu_ms > 0
    again = process(Tree(), "self")
    assert again is not None
    assert (again.pid, again.started) == (own.pid, own.started)
