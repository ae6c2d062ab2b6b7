"""The search for the smallest limit, on contenders whose need is known; and real limits on real processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.artifact import open_artifact
from edge_runtime.confinement import Confinement, open_confinement
from edge_runtime.errors import UnsupportedSystem, WorkerLost
from edge_runtime.fits import ADDRESS_SPACE, CGROUP, FitTry
from edge_runtime.fitting import MIB, fit, smallest
from edge_runtime.launch import Command
from edge_runtime.plan import Entry
from edge_runtime.tree import Tree


def needs(least: int) -> Callable[[int], FitTry]:
    return lambda limit: FitTry(
        limit_bytes=limit, ran=limit >= least, p50_ns=None, reason="" if limit >= least else "x"
    )


@given(st.integers(1, 2**33), st.integers(1, 2**32))
def test_the_limit_found_is_within_a_mebibyte_or_two_per_cent_of_the_need(least: int, guess: int) -> None:
    found, tried = smallest(needs(least), guess_bytes=guess, most_bytes=2**34)
    assert found is not None
    assert least <= found <= least + max(MIB, 0.02 * found) + 2**16
    assert [(one.limit_bytes, one.ran) for one in tried].count((found, True)) == 3, "confirmed twice"
    assert len(tried) < 60


def test_what_needs_more_than_there_is_fits_nowhere_and_the_tries_say_so() -> None:
    found, tried = smallest(needs(2**40), guess_bytes=2**30, most_bytes=3 * 2**30)
    assert found is None
    assert [one.limit_bytes for one in tried] == [2**30, 2**31, 3 * 2**30]


def test_a_limit_that_passed_once_by_luck_is_raised_until_it_passes_every_time() -> None:
    passed: dict[int, int] = {}

    def lucky(limit: int) -> FitTry:
        passed[limit] = passed.get(limit, 0) + 1
        ran = limit >= 64 * MIB or (limit >= 40 * MIB and passed[limit] == 1)
        return FitTry(limit_bytes=limit, ran=ran, p50_ns=None, reason="")

    found, tried = smallest(lucky, guess_bytes=128 * MIB, most_bytes=2**30)
    assert found is not None
    assert 64 * MIB <= found <= 66 * MIB
    assert [one.limit_bytes for one in tried].count(found) == 3


def test_a_contender_that_never_runs_twice_ends_the_search_all_the_same() -> None:
    turns = iter(range(1000))
    found, tried = smallest(
        lambda limit: FitTry(limit_bytes=limit, ran=next(turns) % 2 == 0, p50_ns=None, reason=""),
        guess_bytes=MIB,
        most_bytes=2**44,
    )
    assert len(tried) <= 60
    assert found is None or all(one.ran for one in tried if one.limit_bytes == found)


def scripted(
    p50s: Mapping[int | None, list[int | Exception]],
) -> tuple[list[int | None], Callable[[Entry, float], Mapping[str, Mapping[str, Any]]]]:
    """Return the limits that were launched, and a launch whose p50 is the next of its limit's; the last repeats."""
    launched: list[int | None] = []

    def launch(entry: Entry, timeout_s: float) -> Mapping[str, Mapping[str, Any]]:
        words = entry.command.argv
        limit = int(words[1]) if words[0] == "limit" else None
        launched.append(limit)
        answers = p50s[limit]
        one = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(one, Exception):
            raise one
        return {"answers": {"agree": one > 0}, "timing": {"block_ns": [abs(one)] * 3}}

    return launched, launch


@pytest.fixture
def contender(tiny_edge: Path) -> Entry:
    return Entry(name="a", contender="scripted", command=Command(("run",), {}), artifact=open_artifact(tiny_edge))


def one_try(contender: Entry, limited: list[int | Exception], free: list[int | Exception]) -> tuple[FitTry, int]:
    launched, launch = scripted({None: free, 256: limited})
    marked = Confinement(CGROUP, lambda limit: ("limit", str(limit)))
    found = fit(contender, marked, launch, guess_bytes=1, only=256)
    assert len(found.tried) == 1
    assert found.limit_bytes == (256 if found.tried[0].ran else None)
    assert (found.contender, found.mechanism) == ("a", CGROUP)
    return found.tried[0], len(launched)


def test_one_that_runs_as_fast_as_without_the_limit_fits(contender: Entry) -> None:
    assert one_try(contender, [1090], [1000]) == (FitTry(limit_bytes=256, ran=True, p50_ns=1090, reason=""), 2)


def test_one_that_runs_slower_within_the_limit_does_not_fit(contender: Entry) -> None:
    found, launches = one_try(contender, [1300, 1250], [1000])
    assert (found.ran, found.p50_ns, found.reason) == (False, 1250, "p50 1.25 us, without the limit 1.00 us")
    assert launches == 5, "twice within it, each beside a launch without"


def test_a_machine_that_became_slower_is_no_limit(contender: Entry) -> None:
    found, launches = one_try(contender, [1300], [1000, 1290])
    assert (found.ran, launches) == (True, 3)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (UnsupportedSystem("not enough memory: bad_alloc", "x", "y"), "not enough memory: bad_alloc"),
        (
            WorkerLost("the worker was ended by SIGKILL", "x", "y"),
            "the worker was ended by SIGKILL, as the kernel does where a control group is full",
        ),
        (-1000, "it answers wrongly"),
    ],
)
def test_one_that_dies_or_answers_wrongly_within_the_limit_did_not_run(
    contender: Entry, trouble: int | Exception, reason: str
) -> None:
    found, _ = one_try(contender, [trouble], [1000])
    assert (found.ran, found.p50_ns, found.reason) == (False, None, reason)


def test_one_that_dies_without_a_limit_is_told_as_that(contender: Entry) -> None:
    with pytest.raises(WorkerLost, match="by itself"):
        one_try(contender, [1000], [WorkerLost("by itself", "x", "y")])


def ends_well(command: Command) -> bool:
    return subprocess.run(command.argv, env=command.environment, capture_output=True, check=False).returncode == 0


def takes(mebibytes: int) -> Command:
    return Command((sys.executable, "-I", "-S", "-c", f"b'x' * ({mebibytes} << 20)"), {})


def test_a_program_gets_what_the_limit_allows_and_no_more() -> None:
    with open_confinement() as found:
        assert found.mechanism in {CGROUP, ADDRESS_SPACE}
        assert ends_well(found.within(takes(200), 400 * MIB))
        assert not ends_well(found.within(takes(200), 150 * MIB))


def test_a_limited_worker_is_still_our_own_child(tmp_path: Path) -> None:
    with open_confinement() as found:
        command = found.within(Command((sys.executable, "-I", "-S", "-c", "import os; print(os.getpid())"), {}), 2**30)
        with subprocess.Popen(command.argv, env=command.environment, stdout=subprocess.PIPE, text=True) as process:
            told, _ = process.communicate(timeout=60)
    assert int(told) == process.pid


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a root whose control groups, made of plain files, are this user's and limit nothing."""
    groups = tmp_path / "sys/fs/cgroup"
    (groups / "user.slice/shell.scope").mkdir(parents=True)
    (groups / "cgroup.controllers").write_text("cpu memory")
    (groups / "user.slice/cgroup.subtree_control").write_text("cpu memory pids")
    (groups / "user.slice/shell.scope/cgroup.subtree_control").write_text("")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/user.slice/shell.scope\n")
    return tmp_path


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is all of PATH."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_control_group_that_limits_nothing_is_not_believed(machine: Path, commands: Path) -> None:
    with open_confinement(Tree(machine)) as found:
        assert found.mechanism == ADDRESS_SPACE
    group = machine / f"sys/fs/cgroup/user.slice/edge-fit-{os.getpid()}"
    assert (group / "memory.max").read_text() == str(64 * MIB), "it was tried"
    assert (group / "cgroup.procs").read_text().strip().isdecimal(), "and entered"


SYSTEMD_RUN = """#!/bin/sh
while [ "$1" != -- ]; do
  case "$1" in MemoryMax=*) limit=$((${1#MemoryMax=} / 1024)) ;; MemorySwapMax=0) swap=0 ;; --scope) scope=1 ;; esac
  shift
done
shift
[ "$swap$scope" = 01 ] && LIMIT
exec "$@"
"""


@pytest.mark.parametrize(
    ("limit", "mechanism"), [("ulimit -v $limit", CGROUP), (":", ADDRESS_SPACE), ("exit 1", ADDRESS_SPACE)]
)
def test_systemd_is_asked_for_a_scope_and_believed_when_that_limits(
    limit: str, mechanism: str, machine: Path, commands: Path
) -> None:
    program = commands / "systemd-run"
    program.write_text(SYSTEMD_RUN.replace("LIMIT", limit))
    program.chmod(0o755)
    (machine / "proc/self/cgroup").write_text("")
    with open_confinement(Tree(machine)) as found:
        assert found.mechanism == mechanism
        assert found.within(takes(1), MIB).argv[0] == ("systemd-run" if mechanism == CGROUP else "/bin/sh")


def test_the_limits_go_around_the_command_and_leave_it_whole(contender: Entry) -> None:
    limited = Confinement(CGROUP, lambda limit: ("limit", str(limit))).within(
        replace(contender.command, environment={"HOME": "/x"}), 7
    )
    assert limited.argv == ("limit", "7", "run")
    assert limited.environment["HOME"] == "/x"
