"""`edge cache`: what is there, gone, and made."""

import json
from pathlib import Path

import pytest

from edge_runtime.cli import main
from tests import fakes
from tests.conftest import Maker

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


def told(capsys: Captured, *words: str) -> dict[str, object]:
    assert main(["cache", *words, "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_an_empty_cache_is_told_and_not_made(cache: Path, capsys: Captured) -> None:
    assert told(capsys, "info") == {
        "kind": "edge-cache",
        "schema": 1,
        "folder": str(cache),
        "bytes": 0,
        "limit_bytes": 2**30,
        "entries": [],
    }
    assert main(["cache", "info"]) == 0
    assert "no graph is cached" in capsys.readouterr().out
    assert not cache.exists()


def test_warm_fills_every_variant_of_every_artifact(make_artifact: Maker, cache: Path, capsys: Captured) -> None:
    paths = [str(make_artifact(made(), folder=f"{made.__name__}.edge")) for made in (fakes.tiny, fakes.pair)]
    document = told(capsys, "warm", *paths)
    entries = document["entries"]
    assert isinstance(entries, list)
    assert [entry["made_for"] for entry in entries] == [f"{path} (fp32)" for path in reversed(paths)]
    assert document["bytes"] == sum(entry["bytes"] for entry in entries) > 0
    assert main(["cache", "info"]) == 0
    shown = capsys.readouterr().out
    assert str(cache) in shown
    assert all(f"{path} (fp32)" in shown for path in paths)


def test_clear_tells_what_it_freed(make_artifact: Maker, cache: Path, capsys: Captured) -> None:
    told(capsys, "warm", str(make_artifact()))
    size = sum(path.stat().st_size for path in cache.iterdir())
    assert told(capsys, "clear") == {"kind": "edge-cache-cleared", "schema": 1, "folder": str(cache), "bytes": size}
    assert told(capsys, "info")["entries"] == []
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"0 B freed in {cache}\n"


def test_warming_what_is_not_kept_says_so_and_exits_1(
    make_artifact: Maker, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("EDGE_CACHE_BYTES", "0")
    path = make_artifact()
    assert main(["cache", "warm", str(path)]) == 1
    assert f"edge: fp32 of {path} is not cached" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["warm"], ["info", "x.edge"], ["clear", "x.edge"], [], ["empty"]])
def test_what_makes_no_sense_is_a_usage_error(words: list[str], capsys: Captured) -> None:
    assert main(["cache", *words]) == 2
    assert capsys.readouterr().err.startswith("edge: ")


def test_a_damaged_artifact_can_not_be_warmed(make_artifact: Maker, cache: Path, capsys: Captured) -> None:
    path = make_artifact()
    (path / "fp32" / "model.onnx").write_bytes(b"x")
    assert main(["cache", "warm", str(path)]) == 3
    assert "model.onnx" in capsys.readouterr().err
    assert not cache.exists()
