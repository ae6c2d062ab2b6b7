"""What `edge measure` says of the machine's state around the blocks; figures are tested where they are computed."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.commands.measure import _described, progress_line
from edge_runtime.environment import Conditions
from edge_runtime.errors import Unwritable
from edge_runtime.record import Record, load_record
from edge_runtime.rounds import Progress
from edge_runtime.stats import Interval
from tests.edge_runtime.test_summary import launch, record

HIDDEN = Conditions(governor=None, frequency_khz=None, temperature_millicelsius=None, load_1m_hundredths=31)
COOL = replace(HIDDEN, governor="ondemand", frequency_khz=600_000, temperature_millicelsius=41_250, throttled_bits=0)
HOT = replace(COOL, frequency_khz=1_500_000, temperature_millicelsius=80_500, throttled_bits=0x4)


def lines(measured: Record) -> dict[str, str]:
    told = _described(measured, asked_energy=False).splitlines()
    return {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in told}


def test_the_state_is_told_before_the_first_block_and_after_the_last() -> None:
    found = lines(record(launch("edge", 0, (5, 6), before=COOL), launch("edge", 1, (5, 6), after=HOT)))
    assert found["before"] == "governor ondemand, 600 MHz, 41.2 °C, firmware: calm, load 0.31"
    assert found["after"] == "governor ondemand, 1500 MHz, 80.5 °C, firmware: throttled, load 0.31"


def test_a_machine_that_hides_its_clock_is_said_to() -> None:
    found = lines(record(launch("edge", 0, (5, 6), before=HIDDEN, after=HIDDEN)))
    assert found["before"] == found["after"] == "load 0.31, clock and temperature are hidden"


@pytest.mark.parametrize("cut", [None, 0, 1])
def test_the_warm_up_rule_says_what_it_cut(cut: int | None) -> None:
    rule = lines(record(launch("edge", 0, (9, 5, 6, 5), cut=cut)))["warm-up"]
    assert rule.endswith("in 1 of 1 launches, 25.0% of all samples" if cut else "early: none")


def test_progress_is_one_line_with_the_estimate_and_the_time_left() -> None:
    now = Progress(
        kind="time",
        contender="edge",
        round=3,
        rounds=15,
        elapsed_s=9,
        budget_s=30,
        launches=3,
        estimate=Interval(2_000_000, 1_900_000, 2_100_000),
        left_s=4.5,
    )
    told = "edge: time, round 4 of at most 15, 3 launches done, p50 2.00 ms ±5.0%, about 4.50 s left"
    assert progress_line(now) == told
    early = replace(now, round=None, kind="memory", launches=0, estimate=None, left_s=None)
    assert progress_line(early) == "edge: memory, 0 launches done, 9.00 s of 30.0 s"


def test_ctrl_c_keeps_the_record_says_so_and_the_run_can_be_resumed(
    tiny_edge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "r.json"
    argv = [sys.executable, "-m", "edge_runtime", "measure", str(tiny_edge), "--launches", "99", "--budget", "600"]
    with subprocess.Popen([*argv, "-o", str(kept)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (kept.exists() and load_record(kept).launches):
                time.sleep(0.1)
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == 130
    record = load_record(kept)
    assert record.stop_reason == "interrupted"
    count = len(record.launches)
    assert f"measured and kept in {kept}; to go on: edge measure ... --resume {kept}" in err.decode()
    assert "stopped by interrupted" in out.decode()
    more = str(count + 1)
    assert main(["measure", str(tiny_edge), "--launches", more, "--resume", str(kept), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["stop_reason"], printed["sittings"], len(printed["launches"])) == ("rounds", 2, count + 1)
    assert load_record(kept).sittings == 2


def test_starts_are_told_below_the_cold_start(
    tiny_edge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "r.json"
    assert main(["measure", str(tiny_edge), "--launches", "1", "--starts", "2", "-o", str(kept)]) == 0
    told = capsys.readouterr().out
    assert [one.cache for one in load_record(kept).starts].count("warm") == 2
    title = told.index("from start to first output")
    assert told.index("cold start") < title
    assert told[title:].splitlines()[2].startswith("edge ")


def test_a_record_that_cannot_be_saved_is_shown_all_the_same(
    tiny_edge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Unwritable("can't write: no space left on device", "r.json", "free some")

    monkeypatch.setattr("edge_runtime.files.write_whole", full)
    assert main(["measure", str(tiny_edge), "--launches", "1", "-o", str(tmp_path / "r.json")]) == 3
    out, err = capsys.readouterr()
    assert "throughput" in out
    assert "no space left on device" in err
