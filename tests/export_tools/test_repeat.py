import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime import npz
from export_tools import ExportRequest, repeat
from export_tools.repeat import Changed, Read, Unchanged, compare, keep
from export_tools.request import SourceSpec

MODEL = """
import sibling, torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
    def forward(self, x):
        import late
        return x * self.weight * sibling.FACTOR * late.FACTOR
def build():
    open("settings.txt").read()
    return Net(), torch.ones(2, 3)
"""


@pytest.fixture
def project(tmp_path: Path, make_artifact: Callable[..., Path]) -> Path:
    """Return a folder with an artifact, and what it might have been made from."""
    make_artifact(folder="x.edge")
    for name in ("model.py", "sibling.py", "weights.pt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "found").mkdir()
    for name in ("example.npz", "data/a.npz"):
        npz.write(tmp_path / name, {"x": np.ones(3, np.float32)})
    return tmp_path


def asked(folder: Path, **options: Any) -> ExportRequest:
    spec = SourceSpec(entry="model.py:build", weights="weights.pt", cwd=str(folder))
    made = ExportRequest(
        source=spec,
        output=folder / "x.edge",
        name="x",
        origin=spec.origin,
        example=folder / "example.npz",
        data=folder / "data",
    )
    return replace(made, **options)


def kept(folder: Path, **read: Any) -> str | None:
    paths = tuple(str(folder / name) for name in ("model.py", "sibling.py", "absent.txt"))
    told = replace(Read(paths, (str(folder / "found"),), ""), **read)
    return keep(asked(folder), told, {"kind": "edge-export"}, began_ns=2**62, work=folder / "work", folder=folder / "k")


def same(folder: Path, request: ExportRequest | None = None) -> Unchanged | Changed:
    return compare(request or asked(folder), folder=folder / "k")


def why(folder: Path, request: ExportRequest | None = None) -> str:
    found = same(folder, request)
    assert isinstance(found, Changed)
    return found.why


def test_an_export_of_what_has_not_changed_is_known(project: Path) -> None:
    assert why(project) == ""
    assert kept(project) is None
    found = same(project)
    assert isinstance(found, Unchanged)
    assert found.document == {"kind": "edge-export", "artifact": str(project / "x.edge"), "unchanged": True}
    # the three that were read, the weights and the data; the example is known by its content
    assert found.count == 5
    (project / "x.edge").rename(project / "moved.edge")
    assert isinstance(same(project, asked(project, output=project / "moved.edge")), Unchanged)


@pytest.mark.parametrize("name", ["model.py", "sibling.py", "weights.pt", "data/a.npz"])
def test_a_file_that_changed_is_a_change(project: Path, name: str) -> None:
    kept(project)
    path = project / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"!")
    assert why(project).endswith(f"{name} has changed")
    path.write_bytes(content)
    assert isinstance(same(project), Unchanged)  # by content, whatever its time says
    path.unlink()
    assert why(project).endswith(f"{name} has changed")


def test_a_file_that_was_not_there_is_a_change_when_it_is(project: Path) -> None:
    kept(project)
    (project / "absent.txt").write_text("now", encoding="utf-8")
    assert why(project).endswith("absent.txt has changed")


def test_a_folder_that_was_listed_is_a_change_when_it_holds_others(project: Path) -> None:
    kept(project)
    (project / "found" / "more.pt").touch()
    assert why(project).endswith("found holds others")


def test_more_data_is_a_change(project: Path) -> None:
    kept(project, folders=(str(project / "data"),))
    npz.write(project / "data" / "b.npz", {"x": np.ones(3, np.float32)})
    assert why(project).endswith("data holds others")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"opset": 17}, "opset was 18, is 17"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"skip": ("fold",)}, 'skip was [], is ["fold"]'),
        ({"labels": ("a", "b")}, 'labels was null, is ["a", "b"]'),
        ({"version": "2"}, "version was 1, is 2"),
        ({"exporter": "dynamo"}, "exporter was auto, is dynamo"),
        ({"allow_frozen_branch": True}, "allow frozen branch was false, is true"),
    ],
)
def test_another_option_is_a_change(project: Path, options: dict[str, Any], told: str) -> None:
    kept(project)
    assert why(project, asked(project, **options)) == told


def test_another_example_is_a_change_and_the_same_elsewhere_is_none(project: Path) -> None:
    kept(project)
    npz.write(project / "other.npz", {"x": np.ones(3, np.float32)})
    assert isinstance(same(project, asked(project, example=project / "other.npz")), Unchanged)
    npz.write(project / "other.npz", {"x": np.zeros(3, np.float32)})
    assert why(project, asked(project, example=project / "other.npz")).startswith("example ")


def test_how_long_it_may_take_is_no_change(project: Path) -> None:
    kept(project)
    assert isinstance(same(project, asked(project, timeout_s=7.0)), Unchanged)


@pytest.mark.parametrize("tool", ["torch", "onnx", "onnxruntime", "python", "PYTHONPATH", "edge's own code"])
def test_another_version_of_a_tool_is_a_change(project: Path, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(project)
    now = repeat.tools()
    monkeypatch.setattr(repeat, "tools", lambda: {**now, tool: "another"})
    assert why(project).startswith(f"{tool} ")


def test_our_own_code_is_one_of_the_tools() -> None:
    assert len(repeat.tools()["edge's own code"]) == 64
    assert repeat.tools()["torch"].startswith("2.")


@pytest.mark.parametrize("name", ["manifest.json", "fp32/model.onnx", "golden/a.npz"])
def test_an_artifact_that_was_edited_or_damaged_is_a_change(project: Path, name: str) -> None:
    kept(project)
    path = next((project / "x.edge").rglob(Path(name).name if name != "golden/a.npz" else "*.npz"))
    path.write_bytes(path.read_bytes() + b" ")
    found = same(project)
    assert isinstance(found, Changed)
    # an edited manifest is no manifest that anything is known of
    assert found.why.startswith("" if name == "manifest.json" else "it is damaged: ")


def test_what_can_not_be_known_is_not_kept(project: Path) -> None:
    assert kept(project, network="('10.0.0.1', 80)") == "the source asks the network (('10.0.0.1', 80))"
    told = Read((str(project / "model.py"),), (), "")
    options: dict[str, Any] = {"work": project / "work", "folder": project / "k"}
    assert str(keep(asked(project), told, {}, began_ns=0, **options)).endswith("model.py changed during the export")
    spec = replace(asked(project).source, pickle_sha256="0" * 64)
    object_given = asked(project, source=spec)
    assert str(keep(object_given, told, {}, began_ns=2**62, **options)).startswith("the module came as an object")
    (project / "k").mkdir(mode=0o777)
    (project / "k").chmod(0o777)
    assert str(kept(project)).endswith("can be written by others")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"kind": "edge-export-inputs", "schema": 99}'])
def test_a_damaged_record_is_as_if_nothing_were_known(project: Path, content: str) -> None:
    kept(project)
    (record,) = (project / "k").iterdir()
    record.write_text(content, encoding="utf-8")
    assert why(project) == ""
    fields = {"kind": repeat.KIND, "schema": repeat.SCHEMA, "made": "", "options": "{}", "tools": "{}"}
    record.write_text(json.dumps({**fields, "document": "{}", "files": "7", "folders": "[]"}), encoding="utf-8")
    assert why(project) == ""


def test_only_the_latest_records_are_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeat, "KEPT", 2)
    (project / "k").mkdir(mode=0o700)
    for age, name in enumerate(("old", "older", "oldest")):
        (project / "k" / f"{name}.json").touch()
        os.utime(project / "k" / f"{name}.json", ns=(10**9 - age, 10**9 - age))
    kept(project)
    assert [path.name for path in (project / "k").iterdir() if path.name in {"old.json", "older.json"}] == ["old.json"]
    assert isinstance(same(project), Unchanged)


def test_a_process_knows_what_it_read(tmp_path: Path) -> None:
    for name in ("read.txt", "beside.py", "helper.py"):
        (tmp_path / name).write_text("", encoding="utf-8")
    (tmp_path / "listed").mkdir()
    program = """
import json, os, socket, sys
from pathlib import Path
from export_tools.reads import Reads
sys.path.insert(0, os.getcwd())
reads = Reads()
import helper
exec(Path("beside.py").read_text())
os.close(os.open("read.txt", os.O_RDONLY))
for name in ("absent.txt",):
    try: open(name)
    except OSError: pass
Path("made.txt").write_text("mine"); Path("made.txt").read_text()
list(Path("listed").glob("*.pt")); os.listdir(b"listed")
quiet = reads.network
socket.socket().connect_ex(("127.0.0.1", 9))
print(json.dumps([reads.files, reads.folders, quiet, reads.network]))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    words = (sys.executable, "-c", program)
    for _ in range(2):  # the second time from compiled files
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        files, folders, quiet, network = json.loads(done.stdout)
        own = [Path(path).name for path in files if path.startswith(str(tmp_path))]
        assert own == ["helper.py", "beside.py", "read.txt", "absent.txt"]
        assert [path for path in folders if path.startswith(str(tmp_path))] == [str(tmp_path / "listed")]
        assert (quiet, network) == ("", "('127.0.0.1', 9)")


def test_a_repeated_export_is_none_until_something_changes(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    for name in ("sibling.py", "late.py"):
        (tmp_path / name).write_text("FACTOR = 1.0\n", encoding="utf-8")
    (tmp_path / "settings.txt").touch()

    def edge(*flags: str, torch: bool = False) -> subprocess.CompletedProcess[str]:
        # in the parent alone, whose PYTHONPATH is an option of its own
        hide = "" if torch else "import sys; sys.modules |= dict.fromkeys(('torch', 'onnx', 'onnxscript'))\n"
        program = f"{hide}from export_tools import cli; raise SystemExit(cli.export(__import__('sys').argv[1:]))"
        words = [sys.executable, "-c", program, "model.py:build", "-o", "x.edge", "--exporter", "dynamo", *flags]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    first = edge(torch=True)
    assert first.returncode == 0, first.stderr
    again = edge()
    assert again.returncode == 0, again.stderr
    assert (again.stdout + again.stderr).startswith("unchanged: x.edge is what this export made on 2")
    document = json.loads(edge("--json").stdout)
    assert (document["unchanged"], document["cases"], document["exporter"]) == (True, 7, "dynamo")
    refused = edge("--report", "x.html")
    assert "no new proof to report" in refused.stderr
    for name in ("sibling.py", "late.py", "settings.txt", "model.py"):
        before = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(before + "# another\n", encoding="utf-8")
        changed = edge()
        assert f"this export would make another one: {tmp_path / name} has changed" in changed.stderr
        (tmp_path / name).write_text(before, encoding="utf-8")
    assert "opset was 18, is 17" in edge("--opset", "17").stderr
    assert edge().returncode == 0
