"""Another onnxruntime runs the golden cases in a process of its own, whatever it does there."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge_runtime import open_artifact
from edge_runtime.cli import main
from edge_runtime.errors import UnsupportedModel, UsageError
from edge_runtime.tolerance import Tolerance
from export_tools import ExportRequest, bare_runtime, prove, throwaway
from export_tools.cases import Case
from export_tools.errors import ParityLost
from export_tools.export_document import document
from export_tools.noise import Answers, Granted
from export_tools.pipeline import Exported, run
from export_tools.remembered import cache_folder
from export_tools.reverify import reverify
from export_tools.target import parse
from export_tools.terminal import facts
from export_tools.verify import AS_WRITTEN, OPTIMISED

USERS_CACHE = os.environ.get("XDG_CACHE_HOME")  # before any test has a cache of its own
OLD = "1.15"
OWN = ".".join(onnxruntime.__version__.split(".")[:2])
Opened = Callable[..., AbstractContextManager[prove.Runtime]]


def put(folder: Path, package: str, code: str | None = None) -> None:
    """Put a package into a folder: this environment's own, or one of this code."""
    folder.mkdir(parents=True, exist_ok=True)
    if code is None:
        found = Path(sys.modules[package].__file__ or "").parent
        for part in (found, found.with_name(f"{package}.libs")):
            if part.is_dir():
                (folder / part.name).symlink_to(part)
        return
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(code)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Return what opens a runtime of this code, or of this environment's own onnxruntime."""
    folder = tmp_path / "runtime of a test"
    put(folder, "numpy")
    (tmp_path / "work").mkdir()

    def made(code: str | None = None, *, timeout_s: float = 60) -> AbstractContextManager[prove.Runtime]:
        put(folder, "onnxruntime", code)
        return prove.runtime(folder, "9.9", where="tiny.edge", work=tmp_path / "work", timeout_s=timeout_s)

    return made


@pytest.fixture
def own_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the release of this environment, which is kept as one that was fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = tmp_path / "kept"
    put(kept, "numpy")
    put(kept, "onnxruntime")

    def fetch(_release: str, folder: Path) -> None:
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)

    monkeypatch.setattr(throwaway, "_fetch", fetch)
    return OWN


FAKE = """
class GraphOptimizationLevel:
    ORT_ENABLE_ALL, ORT_DISABLE_ALL = 99, 0
class SessionOptions:
    pass
class Output:
    name = "output"
__version__ = "9.9.1"
class InferenceSession:
    def __init__(self, model, options, providers): {opening}
    def get_outputs(self): return [Output()]
    def run(self, names, fed): {running}
"""


def fake(opening: str = "pass", running: str = "pass") -> str:
    return FAKE.format(opening=opening, running=running)


def golden(tiny_edge: Path) -> tuple[Path, Case, np.ndarray]:
    artifact = open_artifact(tiny_edge)
    first = next(artifact.golden(artifact.variant()))
    return artifact.model_path(artifact.variant()), Case(first.name, first.inputs, {}), first.outputs["output"]


def test_both_graphs_run_in_the_other_onnxruntime_with_nothing_of_this_environment(
    opened: Opened, tiny_edge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, case, wanted = golden(tiny_edge)
    monkeypatch.chdir(tiny_edge.parent)
    with opened() as other:
        for graph in (AS_WRITTEN, OPTIMISED):
            run_case = other.open(model.relative_to(tiny_edge.parent), graph)
            np.testing.assert_allclose(run_case(case)["output"], wanted, rtol=1e-5, atol=1e-5)
    assert other.engine == f"onnxruntime {onnxruntime.__version__}"


def test_the_child_sees_no_variable_and_no_package_of_this_environment(
    opened: Opened, tiny_edge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_LEAK", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), str(Path(onnxruntime.__file__).parents[1])]))
    told = (
        "import os, sys, importlib.util; raise RuntimeError(repr((sorted(os.environ), "
        "[n for n in ('export_tools', 'edge_runtime', 'onnx', 'torch') if importlib.util.find_spec(n)])))"
    )
    with opened(fake(opening=told)) as other, pytest.raises(UnsupportedModel) as caught:
        other.open(golden(tiny_edge)[0], AS_WRITTEN)
    # LC_CTYPE: Python's own, where it coerces a locale
    variables = caught.value.what.replace("'LC_CTYPE', ", "")
    assert "(['HOME', 'LANG', 'ORT_DISABLE_TELEMETRY', 'TMPDIR'], [])" in variables


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (fake(opening="raise ValueError('Unsupported model IR version: 99')"), "refuses the model: ValueError: Unsupp"),
        (
            fake(opening="import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
            "fails on it: its process was ended by",
        ),
        (fake(opening="import time; time.sleep(60)"), "fails on it: it was not done within 2 s"),
        (fake(opening="import os; os._exit(3)"), "fails on it: its process ended with exit code 3"),
        ("raise ImportError('libfoo.so.1 is missing')", "refuses the model: ImportError: libfoo.so.1"),
    ],
    ids=["refuses", "crashes", "hangs", "exits", "broken"],
)
def test_a_runtime_that_cannot_open_the_model_is_unsupported(
    opened: Opened, tiny_edge: Path, code: str, said: str
) -> None:
    with opened(code, timeout_s=2) as other, pytest.raises(UnsupportedModel) as caught:
        other.open(golden(tiny_edge)[0], AS_WRITTEN)
    assert f"onnxruntime 9.9 {said}" in caught.value.what
    assert caught.value.exit_code == 5


def test_what_it_prints_is_no_answer(opened: Opened, tiny_edge: Path) -> None:
    model, case, _ = golden(tiny_edge)
    code = fake(opening="print('{}', flush=True)", running="import numpy; print('hello'); return [numpy.ones(3)]")
    with opened(code) as other:
        assert other.open(model, AS_WRITTEN)(case)["output"].tolist() == [1, 1, 1]
    assert other.version == "9.9.1"


def test_wrong_answers_and_failures_of_a_case_are_a_lost_proof(opened: Opened, tiny_edge: Path, tmp_path: Path) -> None:
    model, case, wanted = golden(tiny_edge)
    prove_it = partial(
        prove.proven,
        model=model,
        cases=[case],
        answers=[Answers({"output": wanted}, None)],
        granted=[{"output": Granted(Tolerance(abs=1e-5, rel=1e-5), 1e-5)}],
        where="tiny.edge",
        work=tmp_path / "work",
    )
    zeros = fake(running="import numpy; return [numpy.zeros((64, 1), 'f4')]")
    put(tmp_path / "runtime of a test", "onnxruntime", zeros)
    ready = prove.Fetched("9.9", tmp_path / "runtime of a test")
    with pytest.raises(ParityLost, match="1 of 1 outputs differ") as caught:
        prove_it(ready)
    assert caught.value.where == "tiny.edge, in onnxruntime 9.9.1"
    assert "another release there than onnxruntime 9.9.1" in caught.value.hint
    assert caught.value.failing is not None
    shutil.rmtree(tmp_path / "runtime of a test/onnxruntime")
    put(tmp_path / "runtime of a test", "onnxruntime", fake(running="raise RuntimeError('no kernel')"))
    with pytest.raises(ParityLost, match=r"onnxruntime fails: onnxruntime 9\.9\.1: RuntimeError: no kernel"):
        prove_it(ready)


def test_the_golden_cases_of_an_artifact_are_replayed_in_another_release(
    tiny_edge: Path, own_release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tiny_edge), "--runtime", f"onnxruntime=={own_release}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["against"], told["engine"]) == ("its golden cases", f"onnxruntime {onnxruntime.__version__}")
    assert {row["graph"] for row in told["outputs"]} <= {AS_WRITTEN, OPTIMISED}
    assert told["cases"] == 3


def test_a_release_that_has_no_wheel_is_no_verdict(
    tiny_edge: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "wheels").mkdir()
    for name, value in {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels/onnxruntime-1.15.0-py3-none-any.whl").touch()
    assert main(["verify", str(tiny_edge), "--runtime", "onnxruntime==1.14"]) == 5
    assert "no wheel of onnxruntime 1.14 for Python" in capsys.readouterr().err


def test_where_there_is_no_wheel_an_export_is_checked_by_table_only() -> None:
    why = "no wheel of onnxruntime 1.14 for Python 3.11; the oldest is 1.15.0"
    found = prove.proven(prove.Fetched("1.14", None, why), Path("x"), [], [], [], where="x", work=Path("x"))
    assert str(found) == f"checked by table only: {why}"


def test_proving_takes_a_target_and_golden_cases(requested: Callable[..., ExportRequest], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no target to prove it for"):
        requested("linear", tmp_path / "x.edge", prove_target=True)
    with pytest.raises(UsageError, match="replays the golden cases"):
        requested("linear", tmp_path / "x.edge", prove_target=True, target=parse("pi4"), skip=("goldens",))


def test_the_child_needs_nothing_of_the_package() -> None:
    code = Path(bare_runtime.__file__).read_text()
    assert "export_tools" not in code
    assert "edge_runtime" not in code


@pytest.fixture
def old_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return a release whose wheel `make test-setup` has fetched from the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XDG_CACHE_HOME", raising=False)
        if USERS_CACHE is not None:
            patch.setenv("XDG_CACHE_HOME", USERS_CACHE)
        kept = cache_folder("runtimes")
    if not list(kept.glob(f"onnxruntime-{OLD}-*")):
        pytest.skip(f"onnxruntime {OLD} is not here: make test-setup")
    (tmp_path / "cache/edge").mkdir(parents=True)
    (tmp_path / "cache/edge/runtimes").symlink_to(kept)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return OLD


def test_an_export_is_proven_in_the_targets_own_old_onnxruntime(
    requested: Callable[..., ExportRequest], old_release: str, tmp_path: Path
) -> None:
    request = requested(
        "linear",
        tmp_path / "linear.edge",
        dynamic=("x:0=batch",),
        target=parse(f"onnxruntime=={old_release}"),
        prove_target=True,
    )
    exported: Exported = run(request)
    assert exported.artifact.manifest.target == "onnxruntime==1.15"
    assert exported.on_target is not None
    assert exported.on_target.version == "1.15.1"
    assert exported.on_target.cases == len(exported.artifact.manifest.golden)
    assert 0 < exported.on_target.of_tolerance <= 1
    told = document(exported)["target_proof"]
    assert (told["how"], told["onnxruntime"], told["cases"]) == ("run", "1.15.1", exported.on_target.cases)
    assert "golden cases run in onnxruntime 1.15.1, worst error" in dict(facts(exported))["target"]
    without = replace(exported, on_target=None)
    assert document(without)["target_proof"] == {"how": "table", "onnxruntime": None, "why": "not asked for"}
    assert dict(facts(without))["target"] == "onnxruntime 1.15: checked by table only"
    found = reverify(tmp_path / "linear.edge", against="goldens", runtime=old_release)
    assert (found.engine, bool(found.verification.wrong)) == ("onnxruntime 1.15.1", False)
