"""`edge profile` at the command line: its tables, its document, its trace and its exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.peaks import Peaks
from tests import fakes
from tests.conftest import Maker

QUICK = ["--runs", "20", "--budget", "0.05"]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_people_see_operators_nodes_and_the_profilers_own_cost(
    make_artifact: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, trace = str(make_artifact(fakes.found())), tmp_path / "out.json"
    assert main(["profile", path, *QUICK, "--top", "1", "--trace", str(trace)]) == 0
    told = capsys.readouterr().out
    for text in (
        "operator",
        "GFLOP/s",
        "of peak",
        "and 1 more with",
        "between nodes",
        "p50",
        "profiling: ×",
        "measured here",
    ):
        assert text in told
    assert "20 runs" in told
    assert len(json.loads(trace.read_text())["traceEvents"]) == 2 + 20 * 3
    assert main(["profile", path, *QUICK, "--trace", str(trace)]) == 2
    assert "--force" in capsys.readouterr().err


def test_a_program_sees_one_document(tiny_edge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(tiny_edge), *QUICK, "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "edge-profile"
    assert set(document["peaks"]) == set(Peaks.__dataclass_fields__)
    assert {node["operator"] for node in document["nodes"]} == {one["operator"] for one in document["operators"]}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--top", "0"], 2),
        (["--runs", "0"], 2),
        (["--threads", "0"], 2),
        (["--variant", "int9"], 2),
        (["--trace", "/no/such/folder/out.json"], 3),
        (["--input", "input=/no/such/file.npy"], 3),
    ],
)
def test_wrong_flags_end_before_a_worker_starts(
    tiny_edge: Path, words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(tiny_edge), *words]) == status
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("edge: ")
    assert told.err.count("\n") == 1


def test_a_wrong_answer_is_an_honest_no(make_artifact: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(make_artifact(spoil=1.0)), *QUICK, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["code"] == "SelfCheckFailed"


def test_a_missing_artifact_is_told(tmp_path: Path) -> None:
    assert main(["profile", str(tmp_path / "none.edge")]) == 3
