"""What goes wrong in a run: rivals that crash, babble or can't be imported, no round at all, forty columns."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import bench, comparison
from bench.budget import Rule
from bench.errors import NoHistory
from bench.gate import gate
from bench.history import history
from benchmarks import zoo_table
from edge_runtime import confirmation, summary
from edge_runtime.cli import main
from edge_runtime.record import Record, load_record
from edge_runtime.rounds import Plan

ROOT = Path(__file__).parents[2]
Make = Callable[..., Record]
Rival = Callable[[str], str]
Quick = Callable[[int], Plan]


@pytest.mark.parametrize(
    ("name", "told"),
    [("segfaults", "was ended by SIGSEGV"), ("babbles", "it said what is no JSON line")],
)
def test_a_rival_that_breaks_while_it_is_timed_leaves_the_race_and_the_others_go_on(
    name: str, told: str, tiny: Path, rival: Rival, quick: Quick
) -> None:
    record = bench(tiny, against=[rival(name)], plan=quick(2))
    assert [one.answers.agree for one in record.contenders] == [True, True]
    assert (len(record.launches_of("edge")), record.launches_of(name)) == (2, ())
    lost = [launch for launch in record.launches if launch.contender == name]
    assert [(launch.round, launch.valid, told in launch.reasons[0]) for launch in lost] == [(0, False, True)] * 2
    assert f"{name} left the race in round 1" in " ".join(record.warnings)
    assert summary.compare(record, baseline=name, contender="edge").verdict == "inconclusive"


def test_a_rival_that_is_killed_in_its_third_round_is_started_again_and_loses_no_round(
    tiny: Path, rival: Rival, quick: Quick
) -> None:
    record = bench(tiny, against=[rival("dies_in_third_round")], plan=quick(4))
    assert [launch.round for launch in record.launches_of("dies_in_third_round")] == [0, 1, 2, 3]
    (lost,) = [launch for launch in record.launches if not launch.valid]
    assert (lost.round, lost.contender, "SIGKILL" in lost.reasons[0]) == (2, "dies_in_third_round", True)
    assert summary.compare(record, baseline="dies_in_third_round", contender="edge").rounds == 4


def test_a_rival_that_can_not_be_imported_is_a_row_with_its_reason(
    tiny: Path, rival: Rival, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "r.json"
    words = ["--against", rival("needs_what_is_not_there"), "--rounds", "1", "-o", str(kept)]
    assert main(["bench", str(tiny), *words]) == 0
    failure = load_record(kept).contenders[1].failure
    assert failure is not None
    assert "No module named 'a_package_that_nobody_has'" in failure.reason
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("needs_what"))
    assert row.split()[-1] == failure.kind


def test_a_record_without_a_round_is_a_record_and_no_figure_comes_of_it(make_record: Make, tmp_path: Path) -> None:
    empty = replace(make_record(), launches=(), stop_reason="budget")
    empty.save(tmp_path / "r.json")
    assert load_record(tmp_path / "r.json") == empty
    changes = comparison.compare(empty, make_record()).changes
    assert {(one.figure, one.verdict) for one in changes if one.figure.endswith("_ns")} == {
        ("p50_ns", "inconclusive"),
        ("cold_start_ns", "inconclusive"),
    }
    rules = [
        Rule(number=1, metric="p50", limit=1e12),
        Rule(number=2, metric="p99", limit=1e12),
        Rule(number=3, metric="p50", than="torch", min_speedup=0.1),
        Rule(number=4, metric="p50", max_growth=9.0),
    ]
    found = gate([empty], rules, baseline=make_record()).findings
    assert [one.outcome for one in found] == ["broken"] * 4, "a limit must not hold because nobody looked"
    with pytest.raises(NoHistory, match="no record of 'digits' with a p50"):
        history("digits", tmp_path)
    assert (confirmation.doubtful(empty), confirmation.second_batch(empty)) == (False, None)
    assert "0 rounds of each network" in zoo_table.tables([empty])


def test_progress_on_a_terminal_of_forty_columns_stays_on_its_line(tiny: Path) -> None:
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    argv = [sys.executable, "-m", "edge_runtime", "bench", str(tiny), "--against", "edge:call", "--rounds", "1"]
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(
        argv,
        cwd=ROOT,
        stdin=secondary,
        stdout=subprocess.DEVNULL,
        stderr=secondary,
        env={**environment, "TERM": "xterm"},
    ) as run:
        os.close(secondary)
        written = b""
        with contextlib.suppress(OSError):  # Linux says EIO where the other side of a terminal has closed
            while chunk := os.read(primary, 1 << 16):
                written += chunk
    os.close(primary)
    assert run.returncode == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()))
    assert any(line.startswith("edge:call: ") for line in lines)
    assert max(map(len, lines)) <= 40
