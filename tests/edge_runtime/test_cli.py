"""The command line as people and scripts meet it: exit codes, streams, one paragraph an error."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime import __version__, npz
from edge_runtime.cli import VERBS, main
from edge_runtime.record import load_record
from tests import fakes
from tests.conftest import Maker

ROOT = Path(__file__).resolve().parents[2]
BOARD_VERBS = [name for name, verb in VERBS.items() if not verb.extra]
HOST_VERBS = [name for name, verb in VERBS.items() if verb.extra]
Captured = pytest.CaptureFixture[str]


def edge(*words: str, before: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `edge` in a process of its own; `before` is Python that runs first in it."""
    code = f"{before}\nimport sys\nfrom edge_runtime.cli import main\nsys.exit(main())"
    argv = [sys.executable, *(["-c", code] if before else ["-m", "edge_runtime"]), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    file = tmp_path / "an input=x.npy"
    np.save(file, np.ones((2, 13), "f4"))
    return file


def test_help_lists_every_verb_and_the_exit_code_is_that_of_having_asked(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert [name for name in VERBS if f"\n  {name} " in told] == list(VERBS)
    assert main([]) == 2
    assert capsys.readouterr().out == told


def test_the_version_is_the_packages(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge {__version__}\n"


@pytest.mark.parametrize("verb", BOARD_VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str, capsys: Captured) -> None:
    assert main([verb, "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: edge {verb}")
    assert f"\nexamples:\n  edge {verb}" in told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["frobnicate"], 2, "no verb 'frobnicate'"),
        (["info"], 2, "required: NAME.edge"),
        (["info", "ARTIFACT", "--frob"], 2, "unrecognized arguments: --frob"),
        (["run", "ARTIFACT", "--repeat", "0"], 2, "--repeat 0"),
        (["run", "ARTIFACT", "--variant", "int4", "--input", "x=y"], 2, "no variant 'int4'"),
        (["check", "ARTIFACT", "--threads", "0"], 2, "0 threads on"),
        (["run", "ARTIFACT", "--threads", "100000"], 2, "100000 threads on"),
        (["measure", "ARTIFACT", "--precision", "nan"], 2, "not above zero and finite"),
        (["measure", "ARTIFACT", "--launches", "0"], 2, "0 rounds"),
        (["measure", "ARTIFACT", "--threads", "1000"], 2, "1000 threads"),
        (["info", "nope.edge"], 3, "no such artifact"),
        (["info", "x" * 300], 3, "no such artifact"),
        (["run", "ARTIFACT"], 3, "no input input"),
        (["run", "ARTIFACT", "--input", "input=" + "x" * 300], 3, "file name too long"),
        (["run", "ARTIFACT", "--input", "input=nope.npy"], 3, "no such file"),
        (["run", "ARTIFACT", "-o", "/nonexistent/out.npz"], 3, "no such folder"),
        (["measure", "ARTIFACT", "-o", "/nonexistent/r.json"], 3, "no such folder"),
    ],
)
def test_an_error_is_one_paragraph_with_its_exit_code_in_text_and_in_json(
    tiny_edge: Path, capsys: Captured, words: list[str], code: int, told: str
) -> None:
    words = [str(tiny_edge) if word == "ARTIFACT" else word for word in words]
    assert main(words) == code
    plain = capsys.readouterr()
    assert plain.out == ""
    assert plain.err.startswith("edge: ")
    assert told in plain.err
    assert plain.err.count("\n") == 1
    assert plain.err.count(" – ") == 2
    assert main([*words, "--json"]) == code
    machine = capsys.readouterr()
    document = json.loads(machine.out)
    assert list(document) == ["kind", "schema", "code", "exit", "what", "where", "hint", "transient"]
    assert (document["kind"], document["exit"]) == ("edge-error", code)
    assert told in document["what"]
    assert machine.err == plain.err


def test_common_flags_may_stand_before_the_verb(tiny_edge: Path, capsys: Captured) -> None:
    assert main(["--json", "info", str(tiny_edge)]) == 0
    before = capsys.readouterr().out
    assert main(["info", "--json", str(tiny_edge)]) == 0
    assert json.loads(before) == json.loads(capsys.readouterr().out)
    assert main(["-v", "--json"]) == 2  # no verb at all


def test_verbose_shows_where_an_error_came_from(capsys: Captured) -> None:
    assert main(["info", "nope.edge", "-v"]) == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_info_describes_an_artifact_and_its_json_is_the_manifest(tiny_edge: Path, capsys: Captured) -> None:
    assert main(["info", str(tiny_edge)]) == 0
    told = capsys.readouterr().out
    for words in ("tiny 1", "float32[batch, 13]", "float32[batch, 1]", "onnxruntime >= 1.14", "3 cases"):
        assert words in told
    assert main(["info", str(tiny_edge), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    document = json.loads(captured.out)
    assert document["manifest"] == json.loads((tiny_edge / "manifest.json").read_text())


def test_info_tells_the_target_and_where_the_graph_holds_one_path_of_several(
    make_artifact: Maker, capsys: Captured
) -> None:
    assert main(["info", str(make_artifact(target="pi4", frozen=("model.py:12", "model.py:40")))]) == 0
    told = capsys.readouterr().out
    assert "pi4" in told
    assert "decided by values at model.py:12, model.py:40" in told


def test_a_hostile_name_cannot_write_to_the_terminal(make_artifact: Maker, capsys: Captured) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07"
    assert main(["info", str(make_artifact(version=hostile, source_entry=hostile))]) == 0
    told = capsys.readouterr().out
    assert "\\x1b[2J" in told
    assert "\x1b" not in told


def test_run_prints_what_the_model_answers(tiny_edge: Path, inputs: Path, capsys: Captured) -> None:
    assert main(["run", str(tiny_edge), "--input", f"input={inputs}", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["outputs"]["output"]
    assert (answer["dtype"], answer["shape"], len(answer["values"])) == ("float32", [2, 1], 2)
    assert main(["run", str(tiny_edge), "--input", str(inputs)]) == 0
    assert capsys.readouterr().out.startswith(f"output  float32[2, 1]  {answer['values'][0]:.6g}")


def test_run_writes_its_outputs_once_and_again_only_by_force(tiny_edge: Path, tmp_path: Path, capsys: Captured) -> None:
    case, out = tiny_edge / "golden" / "case1.npz", tmp_path / "out.npz"
    words = ["run", str(tiny_edge), "--input", str(case), "-o", str(out), "--repeat", "3"]
    assert main(words) == 0
    assert "3 runs, each" in capsys.readouterr().out
    np.testing.assert_allclose(npz.read(out)["output"], npz.read(case)["output/output"], rtol=1e-5, atol=1e-5)
    assert main(words) == 2
    assert "replace it with --force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def test_force_never_replaces_a_device(tiny_edge: Path, tmp_path: Path, capsys: Captured) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    words = ["run", str(tiny_edge), "--input", str(tiny_edge / "golden" / "case1.npz"), "-o", str(fifo), "--force"]
    assert main(words) == 3
    assert "not a regular file" in capsys.readouterr().err
    assert fifo.is_fifo()


def test_run_says_that_nan_went_through_and_json_stays_json(
    make_artifact: Maker, tmp_path: Path, capsys: Captured
) -> None:
    np.save(tmp_path / "odd.npy", np.array([np.nan, np.inf, 1], "f4"))
    words = ["run", str(make_artifact(fakes.echo())), "--input", f"x={tmp_path / 'odd.npy'}", "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert 'input "x" holds 2 values that are NaN or infinite' in captured.err
    assert json.loads(captured.out)["outputs"]["y"]["values"] == ["nan", "inf", 1.0]
    assert main([*words, "-q"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (["other={file}"], 3, "no input 'other'"),
        (["input={file}", "input={file}"], 2, "given twice"),
        (["input={golden}"], 2, "2 arrays for one input"),
        (["{wide}"], 3, "the size 13 where it has 14"),
        (["{double}"], 3, "x.astype(numpy.float32)"),
    ],
)
def test_inputs_that_do_not_fit_are_told_by_name(
    tiny_edge: Path, inputs: Path, capsys: Captured, *, given: list[str], code: int, told: str
) -> None:
    np.save(inputs.parent / "wide.npy", np.ones((2, 14), "f4"))
    np.save(inputs.parent / "double.npy", np.ones((2, 13)))
    places = {
        "file": inputs,
        "golden": tiny_edge / "golden" / "case0.npz",
        "wide": inputs.parent / "wide.npy",
        "double": inputs.parent / "double.npy",
    }
    words = [word for text in given for word in ("--input", text.format(**places))]
    assert main(["run", str(tiny_edge), *words]) == code
    assert told in capsys.readouterr().err


def test_one_array_for_a_model_of_two_inputs_has_to_be_named(
    make_artifact: Maker, tmp_path: Path, capsys: Captured
) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), "f4"))
    assert main(["run", str(make_artifact(fakes.pair())), "--input", str(tmp_path / "x.npy")]) == 2
    assert "which input is this array for?" in capsys.readouterr().err


def test_check_passes_fails_and_refuses_with_0_1_and_3(make_artifact: Maker, capsys: Captured) -> None:
    good, bad = make_artifact(folder="good.edge"), make_artifact(folder="bad.edge", spoil=0.5)
    assert main(["check", str(good)]) == 0
    assert capsys.readouterr().out.endswith("check passed\n")
    assert main(["check", str(bad)]) == 1
    failed = capsys.readouterr()
    assert "WRONG" in failed.out
    assert "3 of 3 golden outputs are wrong here" in failed.err
    (good / "golden" / "case2.npz").write_bytes(b"x")
    assert main(["check", str(good)]) == 3
    assert "has the SHA-256" in capsys.readouterr().err


def test_check_as_json_survives_an_output_that_ought_to_be_zero(make_artifact: Maker, capsys: Captured) -> None:
    # golden zeros against a difference within tolerance: the relative error has no number
    tiny = fakes.Sample(fakes.echo().model, ({"x": np.full(2, 1e-7, "f4")},))
    path = make_artifact(tiny, spoil=-1e-7)
    assert main(["check", str(path), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)["outputs"][0]
    assert (output["ok"], output["max_abs"], output["max_rel"]) == (True, pytest.approx(1e-7), None)
    untouched = make_artifact(fakes.echo(), folder="same.edge")
    assert main(["check", str(untouched), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_measure_prints_a_table_keeps_a_record_and_as_json_adds_a_summary(
    tiny_edge: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "r.json"
    words = ["measure", str(tiny_edge), "--launches", "1", "-o", str(out)]
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    summary = document.pop("summary")
    assert document == load_record(out).to_document()
    assert json.loads(out.read_text()) == document
    assert list(summary["contenders"]) == ["edge"]
    assert summary["contenders"]["edge"]["latency_ns"]["p50"][0] > 0
    assert main(words) == 2
    capsys.readouterr()
    assert main([*words, "--force"]) == 0
    told = capsys.readouterr().out
    for part in (
        "machine",
        "p50",
        "cold start",
        "the model itself",
        "every golden case right",
        "warm-up",
        "samples of all launches\n",
        "█",
        "energy: ",
        f"record: {out}",
    ):
        assert part in told


def test_measure_of_a_model_that_answers_wrongly_shows_no_figures_and_exits_1(
    make_artifact: Maker, capsys: Captured
) -> None:
    assert main(["measure", str(make_artifact(spoil=0.5)), "--launches", "1"]) == 1
    told = capsys.readouterr().out
    assert "answers   WRONG" in told
    assert "p50" not in told


def processes_of(group: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if words[0] != "Z" and f"EDGE_TEST_GROUP={group}" in _environment(stat.parent):
            found.append(command)
    return found


def _environment(process: Path) -> str:
    try:
        return (process / "environ").read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_measure_exits_130_and_leaves_no_worker_and_no_file(
    tiny_edge: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    mark = time.monotonic_ns()
    with subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "measure", str(tiny_edge), "-o", str(tmp_path / "r.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "EDGE_TEST_GROUP": str(mark), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not any("edge_runtime.worker" in one for one in processes_of(mark)) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(sent)
        _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, "interrupted\n")
    assert processes_of(mark) == []
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_early_is_no_error(tiny_edge: Path) -> None:
    for words in (["--help"], ["info", str(tiny_edge)], ["info", str(tiny_edge), "--json"], ["run", "--help"]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-m", "edge_runtime", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},  # buffered, as a user's shell has it
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
        os.close(write)
        assert (done.returncode, done.stderr) == (0, b""), words


def test_a_bug_of_ours_exits_70_and_keeps_its_traceback_in_a_file(tmp_path: Path) -> None:
    # what we did not write may break in ways nobody foresaw: json, say
    breaking = "import json\ndef broken(*_, **__): raise ZeroDivisionError('unforeseen')\njson.loads = broken"
    (tmp_path / "x.edge").mkdir()
    (tmp_path / "x.edge" / "manifest.json").write_text("{}")
    done = edge(
        "info", str(tmp_path / "x.edge"), before=f"{breaking}\nimport tempfile\ntempfile.tempdir = {str(tmp_path)!r}"
    )
    assert done.returncode == 70
    (report,) = tmp_path.glob("edge-bug-*.txt")
    assert done.stderr == (
        f"edge: a bug of ours: ZeroDivisionError: unforeseen – {report} – please report it with that file\n"
    )
    assert "Traceback" in report.read_text()
    assert __version__ in report.read_text()


@pytest.mark.parametrize("verb", HOST_VERBS)
def test_a_verb_whose_extra_is_missing_is_told_with_its_pip_line(verb: str) -> None:
    # nothing but the standard library and this package: neither torch nor rich can be found
    done = edge(verb, "x.edge", before="import sys\nsys.path[:] = [p for p in sys.path if 'site-packages' not in p]")
    assert done.returncode == 5
    assert f'pip install "edge-runtime[{VERBS[verb].extra}]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_help_without_extras_shows_what_brings_each_verb() -> None:
    done = edge("--help", before="import sys\nsys.path[:] = [p for p in sys.path if 'site-packages' not in p]")
    assert done.returncode == 0
    for name in HOST_VERBS:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert f'(not installed: pip install "edge-runtime[{VERBS[name].extra}]")' in line
    for name in BOARD_VERBS:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert "not installed" not in line


def test_a_terminal_of_another_encoding_gets_escapes_and_no_crash(tiny_edge: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_runtime", "info", str(tiny_edge) + "\udcff"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 3
    assert b"no such artifact \\u2013" in done.stderr
    assert b"\\udcff" in done.stderr


@pytest.mark.parametrize(("nohup", "status"), [(False, 130), (True, 0)])
def test_a_closed_terminal_ends_a_run_unless_nohup_was_said(nohup: bool, status: int) -> None:
    code = f"""
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN if {nohup} else signal.SIG_DFL)
from edge_runtime import cli
cli.VERBS["hang"] = cli.Verb("", "hanging:up")
hanging = type(sys)("hanging")
hanging.up = lambda words: os.kill(os.getpid(), signal.SIGHUP) or 0
sys.modules["hanging"] = hanging
sys.exit(cli.main(["hang"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr


def test_a_closed_stdout_is_no_bug_of_ours(tiny_edge: Path) -> None:
    words = f"{sys.executable} -m edge_runtime info {tiny_edge} >&-"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_stdout_is_told_in_one_paragraph(tiny_edge: Path) -> None:
    words = f"{sys.executable} -m edge_runtime info {tiny_edge} --json >/dev/full"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("edge: no space left on device")
    assert "Traceback" not in done.stderr


def test_python_m_is_the_same_command(tiny_edge: Path) -> None:
    done = edge("info", str(tiny_edge), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "edge-info"
    assert edge("no-such-verb").returncode == 2


def test_verbose_tells_of_copies_and_quiet_of_no_warning(
    make_artifact: Maker, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", str(make_artifact()), "--input", f"input={tmp_path / 'x.npy'}"]
    np.save(tmp_path / "x.npy", np.asfortranarray(np.ones((2, 13), "f4")))
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "x.npy"))  # a file, where no folder can be
    warning = "edge: the optimised graph can't be cached, so each start optimises anew: "
    told = {}
    for flag in ("-v", "--json", "-q"):
        assert main([*words, flag]) == 0
        told[flag] = capsys.readouterr().err
    assert told["-v"].count(warning) == told["--json"].count(warning) == 1
    assert told["-q"] == ""


def test_an_exception_that_says_that_memory_is_short_is_no_bug(
    tiny_edge: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # numpy's import fails like this where the address space is small, below a page of advice on how to install it
    (tmp_path / "numpy.py").write_text(
        "raise ImportError('IMPORTANT:\\nOriginal error was: libx.so: failed to map segment from shared object')"
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = edge(
        "run", str(tiny_edge), "--input", f"input={inputs}", before=f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    )
    assert done.returncode == 5
    assert done.stderr.startswith("edge: not enough memory: Original error was: libx.so: failed to map")
    assert list(tmp_path.glob("edge-bug-*")) == []
