"""The fast part of the zoo: each is equal, by a check that shares nothing with the proof, or refused for its reason."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.cli import main
from tests.zoo.entry import Entry, entries, weights_folder

HALF_PRECISION = 2e-3
CLOSE = 1e-4  # of the largest value: far above what rounding does, far below what a wrong graph does
ROOT = Path(__file__).parents[2]
FAST = [one for one in entries() if one.fast]


@pytest.mark.parametrize("one", FAST, ids=[one.name for one in FAST])
def test_it_is_equal_or_refused_for_a_true_reason(
    one: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if one.missing:
        pytest.skip(one.missing)
    monkeypatch.setenv("EDGE_ZOO", str(weights_folder()))
    output = tmp_path / f"{one.name}.edge"
    # one exporter: trying both is `make zoo`'s
    exporter = () if "--opset" in one.flags else ("--exporter", "dynamo")
    code = main(["export", one.source, *one.flags, *exporter, "-o", str(output), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == one.exit, document
    if one.verdict == "refused":
        assert one.says in f"{document['what']} {document['hint']}"
        assert not output.exists()
        return
    checked = subprocess.run(
        [sys.executable, "-m", "tests.zoo.fresh", one.source, str(output)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    limit = HALF_PRECISION if one.name == "half_weights" else CLOSE
    assert json.loads(checked.stdout)["worst"] < limit


def test_the_zoo_holds_the_kinds_and_traps_that_it_is_for() -> None:
    kinds = " ".join(one.kind for one in entries() if one.package)
    assert sum(bool(one.package) for one in entries()) >= 8
    for kind in ("image CNN", "detector", "audio CNN", "LSTM", "transformer encoder", "GRU", "integer inputs", "any"):
        assert kind in kinds
    assert sum(not one.package for one in entries()) >= 10
