"""Runs with several thread counts: what is asked, where records go, what more threads brought."""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import thread_counts
from edge_runtime.cli import main
from edge_runtime.measured import Failure
from edge_runtime.record import Record, load_record

Make = Callable[..., Record]
CPUS = len(os.sched_getaffinity(0))
several = pytest.mark.skipif(CPUS < 2, reason="one CPU: there is only one thread count")


@pytest.mark.parametrize(("text", "counts"), [("1", (1,)), ("1,2", (1, 2)), ("4,1", (4, 1))])
def test_counts_are_run_in_the_order_they_are_given(text: str, counts: tuple[int, ...]) -> None:
    assert thread_counts.parse(text) == counts


@pytest.mark.parametrize("text", ["0", "1,1", "", "1,", "-1", "two", "1.5", "99999"])
def test_what_is_no_list_of_counts_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="thread counts such as 1,2 nor sweep"):
        thread_counts.parse(text)


def test_a_sweep_begins_with_one_and_ends_with_all_fast_cpus() -> None:
    counts = thread_counts.parse("sweep")
    assert counts[0] == 1
    assert 1 <= counts[-1] <= CPUS


def test_each_of_several_records_has_a_file_of_its_own_and_one_keeps_its_name() -> None:
    assert thread_counts.path_of(Path("a/R.json"), 2, (2,)) == Path("a/R.json")
    assert thread_counts.path_of(Path("a/R.json"), 2, (1, 2)) == Path("a/R-2t.json")
    assert thread_counts.path_of(Path("a/my record"), 1, (1, 2)) == Path("a/my record-1t")


def test_more_threads_that_help_are_told_with_their_interval(make_record: Make) -> None:
    records = [make_record({"edge": 100.0, "torch": 400.0}), make_record({"edge": 50.0, "torch": 500.0}, threads=2)]
    edge, torch = thread_counts.lines(records)
    assert edge.startswith("edge: best with 2 threads, 2.0")
    assert "x as fast as with 1 (95 % interval 1.9" in edge or "x as fast as with 1 (95 % interval 2.0" in edge
    assert torch.startswith("torch: best with 1 thread, p50 ")
    assert " with 1, " in torch
    document = thread_counts.document(records, [{}, {}])
    assert document["best_threads"] == {"edge": 2, "torch": 1}
    assert [one["config"]["threads"] for one in document["records"]] == [1, 2]


def test_a_gain_within_the_noise_is_none_beyond_doubt(make_record: Make) -> None:
    records = [make_record({"edge": 100.0}), make_record({"edge": 99.9}, threads=2, seed=1)]
    assert thread_counts.lines(records)[0].startswith("edge: no more threads than 1 are faster beyond doubt; 2: 1.0")


def test_a_contender_that_runs_with_one_thread_only_has_figures_of_that(make_record: Make) -> None:
    one, two = make_record({"edge": 100.0, "tract": 100.0}), make_record({"edge": 50.0, "tract": 1.0}, threads=2)
    skipped = replace(two.contenders[1], failure=Failure(kind="skipped", reason="one thread only"))
    two = replace(two, contenders=(two.contenders[0], skipped))
    assert thread_counts.lines([one, two])[1].startswith("tract: figures with 1 thread only, p50 ")
    assert thread_counts.document([one, two], [{}, {}])["best_threads"]["tract"] == 1
    neither = replace(one, contenders=(one.contenders[0], skipped))
    assert thread_counts.lines([neither, two])[1] == "tract: no figures"


@pytest.fixture(autouse=True)
def no_torch_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@several
def test_one_command_makes_a_record_for_each_count(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["bench", str(tiny), "--rounds", "1", "--against", "onnxruntime", "--threads", "1,2"]
    output = tmp_path / "R.json"
    assert main([*argv, "-o", str(output)]) == 0
    told = capsys.readouterr().out
    assert f"record: {tmp_path / 'R-1t.json'}" in told
    assert "edge: " in told.splitlines()[-2]
    assert "onnxruntime: " in told.splitlines()[-1]
    records = [load_record(tmp_path / f"R-{threads}t.json") for threads in (1, 2)]
    assert [(one.config.threads, len(one.config.cpus)) for one in records] == [(1, 1), (2, 2)]
    assert not output.exists()
    assert main([*argv, "-o", str(output)]) == 2, "both names are taken"
    assert main([*argv, "--resume", str(tmp_path / "R-1t.json")]) == 2
    assert "--resume with 2 thread counts" in capsys.readouterr().err


def test_more_threads_than_cpus_are_refused_before_the_runs_with_fewer(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tiny), "--against", "onnxruntime", "--threads", f"1,{CPUS + 1}"]) == 2
    assert f"{CPUS + 1} threads on {CPUS} CPUs" in capsys.readouterr().err
    assert main(["bench", str(tiny), "--against", "onnxruntime", "--threads", "1", "--budget", "0"]) == 2
    assert "a budget" in capsys.readouterr().err


@several
def test_json_of_several_counts_is_one_document(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny), "--rounds", "1", "--against", "onnxruntime", "--threads", "1,2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["schema"]) == ("edge-thread-counts", 1)
    assert [one["kind"] for one in document["records"]] == ["edge-record"] * 2
    assert set(document["best_threads"]) == {"edge", "onnxruntime"}
