import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import onnx
import pytest

from edge_runtime.cli import main
from export_tools.pipeline import Exported

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).parent / "sources"
EDGE = (sys.executable, "-m", "edge_runtime")


def started(*words: str, cwd: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*EDGE, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children_of(session: int) -> list[int]:
    """Return the processes whose environment carries the mark of this test."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != session:
            try:
                environment, state = (entry / "environ").read_bytes(), (entry / "stat").read_text()
            except OSError:
                continue
            if f"EDGE_TEST_MARK={session}".encode() in environment and state.rpartition(")")[2].split()[0] != "Z":
                found.append(int(entry.name))
    return found


def test_the_articles_walk_writes_opset_11_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, SOURCES / "script_with_guard.py", tmp_path / "module.pt"], check=True)
    monkeypatch.chdir(tmp_path)
    words = ["export", "module.pt", "--trust-pickle", "--import-from", str(SOURCES / "script_with_guard.py")]
    words += ["--input-names", "input", "--output-names", "output", "--opset", "11", "--example", "input=64x3:float32"]
    assert main([*words, "-o", "linear.edge"]) == 0
    proto = onnx.load(tmp_path / "linear.edge/fp32/model.onnx")
    assert (proto.opset_import[0].version, proto.ir_version) == (11, 6)
    out = capsys.readouterr().out
    for words_shown in (
        "11 asked, 11 written",
        "torchscript (dynamo failed: opset 11 was asked for, it wrote opset 18)",
        "worst error",
        "linear.edge",
        "cases        7",
    ):
        assert words_shown in out


def test_json_has_stdout_for_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SOURCES)
    assert (
        main(
            [
                "export",
                "networks.py:linear",
                "--opset",
                "17",
                "--exporter",
                "torchscript",
                "-o",
                str(tmp_path / "a.edge"),
                "--json",
            ]
        )
        == 0
    )
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["kind"], document["schema"], document["opset"]) == ("edge-export", 1, {"asked": 17, "written": 17})
    assert (document["exporter"], document["why"], document["warnings"]) == ("torchscript", "asked for", [])
    assert 0 <= document["worst"]["of_tolerance"] < 1
    assert "verify" in captured.err


def test_an_error_is_one_paragraph_and_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.pt").write_text("not a model")
    assert main(["export", str(tmp_path / "model.pt"), "-o", str(tmp_path / "a.edge"), "--json"]) == 3
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["code"], document["exit"], document["what"]) == ("SourceError", 3, "not a model that torch saved")
    assert "Traceback" not in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize(
    "words",
    [
        ["a.py:b", "--dynamic", "x"],
        ["a.py:b", "--opset", "3"],
        ["a.py:b", "--example", "x=1"],
        ["a.py:b", "--input-names", "a,,b"],
    ],
)
def test_wrong_flags_are_told_before_anything_is_imported(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *words]) == 2
    assert capsys.readouterr().err.startswith("edge: ")


def test_ctrl_c_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    mark = str(os.getpid())
    process = started(
        *("export", str(SOURCES / "networks.py:starts_another_and_sleeps"), "-o", "a.edge"),
        cwd=tmp_path,
        EDGE_TEST_MARK=mark,
        EDGE_TEST_TRACE=str(tmp_path / "trace"),
        TMPDIR=str(tmp_path / "tmp"),
    )
    end = time.monotonic() + 60
    while not (tmp_path / "trace").exists() or len(children_of(int(mark))) < 4:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    end = time.monotonic() + 10
    while children_of(int(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    assert children_of(int(mark)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tmp", "trace"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_graph_is_served_on_loopback_until_ctrl_c(linear: Exported) -> None:
    pytest.importorskip("netron")
    process = started("view", str(linear.artifact.path), "--no-browser", cwd=linear.artifact.path)
    assert process.stdout is not None
    line = process.stdout.readline()
    address = line.split()[0]
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=20) as page:
        assert b"Netron" in page.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted\n")


def test_there_must_be_something_to_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path / "no.edge"), "--no-browser"]) == 3
    (tmp_path / "notes.txt").touch()
    assert main(["view", str(tmp_path / "notes.txt"), "--no-browser"]) == 3
    assert "neither an artifact's folder nor an .onnx file" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["export", "view"])
def test_help_shows_examples_and_imports_neither_torch_nor_numpy(verb: str) -> None:
    heavy = "{'torch', 'onnx', 'numpy', 'rich', 'netron'}"
    code = f"""
import contextlib, sys
from edge_runtime.cli import main
with contextlib.suppress(SystemExit):
    main(['{verb}', '--help'])
print(sorted({heavy} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"edge {verb} digits.edge" in done.stdout or f"edge {verb} model.py:build" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
