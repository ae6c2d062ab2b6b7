"""The fast part of the zoo: each is equal, by a check that shares nothing with the proof, or refused for its reason."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.cli import main
from tests.zoo.entry import Entry, entries, weights_folder
from tests.zoo.fresh import error, worst

FAST = [one for one in entries() if one.fast]
WEIGHTS = weights_folder()  # before a test gives the session a cache of its own


@pytest.mark.parametrize("one", FAST, ids=[one.name for one in FAST])
def test_it_is_equal_or_refused_for_a_true_reason(
    one: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_ZOO", str(WEIGHTS))
    if one.missing:
        pytest.skip(one.missing)
    output = tmp_path / f"{one.name}.edge"
    # one exporter: trying both is `make zoo`'s
    exporter = () if one.opset else ("--exporter", "dynamo")
    code = main(["export", one.source, *one.flags, *exporter, "-o", str(output), "--json"])
    document = json.loads(capsys.readouterr().out)
    if one.verdict == "refused":
        assert one.as_refused(code, document), document
        assert not output.exists()
        return
    assert code == 0, document
    assert worst(one.source, output) < one.close


@pytest.mark.parametrize(
    ("got", "wanted", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.1], [1.0, 2.0], 0.05),
        ([1.0, np.nan], [1.0, 2.0], math.inf),
        ([1.0, 2.0], [1.0, np.nan], math.inf),
        ([1.0, np.inf], [1.0, -np.inf], math.inf),
        ([np.nan, np.inf], [np.nan, np.inf], 0.0),
        ([1.0], [1.0, 1.0], math.inf),
    ],
)
def test_the_fresh_check_is_fooled_by_nothing(got: list[float], wanted: list[float], expected: float) -> None:
    assert error(np.array(got), np.array(wanted)) == pytest.approx(expected)


def test_the_fresh_check_wants_the_same_dtype_and_the_same_integers() -> None:
    assert error(np.ones(2, "f4"), np.ones(2, "f8")) == math.inf
    assert error(np.array([1, 2]), np.array([1, 3])) == math.inf
    assert error(np.array([1, 3]), np.array([1, 3])) == 0


def test_the_zoo_holds_the_kinds_and_traps_that_it_is_for() -> None:
    kinds = " ".join(one.kind for one in entries() if one.package)
    assert sum(bool(one.package) for one in entries()) >= 8
    for kind in ("image CNN", "detector", "audio CNN", "LSTM", "transformer encoder", "GRU", "integer inputs", "any"):
        assert kind in kinds
    assert sum(not one.package for one in entries()) >= 10


def test_each_trap_that_is_refused_names_why() -> None:
    refused = [one for one in entries() if one.verdict == "refused"]
    assert refused
    for one in entries():
        assert (one.verdict, bool(one.exit), bool(one.says)) in {("refused", True, True), ("equal", False, False)}
