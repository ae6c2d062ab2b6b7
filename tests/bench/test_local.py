"""This machine as a board: what a worker finds there, and what is left afterwards."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import bench
from bench.boards import local
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import TimedOut, Unwritable
from edge_runtime.launch import run_worker
from edge_runtime.rounds import Plan


def test_a_worker_sees_what_a_board_would_have_and_nothing_else(
    tiny: Path, rival: Callable[[str], str], quick: Callable[[int], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(local.__file__).parents[2]))
    record = bench(tiny, against=[rival("looks_around")], plan=quick(1))
    assert record.contenders[1].engine == ("host=[] python=[] there=['edge_runtime', 'numpy', 'onnxruntime'] home=home")


def test_a_run_fills_a_cache_of_its_own_and_leaves_the_users_alone(
    tiny: Path, tmp_path: Path, quick: Callable[[int], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    # what is left of the private root is looked at from within: the hook runs before it is removed
    seen: list[list[str]] = []
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("EDGE_CACHE", str(home / "own"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def look(_: object) -> None:
        seen.append([path.suffix for path in tmp_path.glob("edge-board-*/home/.cache/edge/graphs/*.json")])

    bench(tiny, against=[], plan=quick(1), keep=look)
    assert seen == [[".json"]] * 4, "after each launch: of three for memory, and one timed"
    assert list(home.iterdir()) == []


def test_the_private_root_holds_the_payload_and_what_was_put_there(tiny: Path, rival: Callable[[str], str]) -> None:
    with local.open_board() as board:
        there = board.put_artifact(open_artifact(tiny))
        file = board.put_contender(Path(rival("talks").partition(":")[0]))
        names = {path.name for path in (board.root / "payload").iterdir()}
        assert (
            {"edge_runtime", "numpy", "onnxruntime"}
            <= names
            <= {
                "edge_runtime",
                "numpy",
                "numpy.libs",
                "onnxruntime",
                "onnxruntime.libs",
            }
        )
        assert there.path.is_relative_to(board.root)
        assert there.verify() == 3
        assert file.read_bytes() == Path(rival("talks").partition(":")[0]).read_bytes()
    assert not board.root.exists()


def test_a_copy_serves_where_links_can_not_be_made(tiny: Path, private_tmp: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tiny.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(other))
        with local.open_board() as board:
            assert board.put_artifact(open_artifact(tiny)).verify() == 3
            assert (board.root / "artifacts/tiny.edge/manifest.json").stat().st_nlink == 1


def test_the_private_root_goes_even_when_the_run_is_interrupted(private_tmp: Path) -> None:
    seen: list[Path] = []

    def interrupted() -> None:
        with local.open_board() as board:
            seen.append(board.root)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [root.parent for root in seen] == [private_tmp]
    assert list(private_tmp.iterdir()) == []


def test_what_does_not_fit_on_the_board_is_an_error_with_a_remedy(tiny: Path) -> None:
    with local.open_board() as board:
        (board.root / "artifacts").write_text("a file where a folder has to be")
        with pytest.raises(Unwritable, match=r"can't write: .* set TMPDIR"):
            board.put_artifact(open_artifact(tiny))


def test_a_worker_that_hangs_is_ended_at_its_deadline(tiny: Path, rival: Callable[[str], str]) -> None:
    with local.open_board() as board:
        job = {
            "kind": "memory",
            "contender": rival("hangs"),
            "artifact": str(board.put_artifact(open_artifact(tiny)).path),
            "variant": "auto",
            "threads": 1,
            "cpus": [],
            "options": {},
            "inputs": None,
            "block": {},
        }
        with pytest.raises(TimedOut, match="no answer within 2 s"):
            run_worker(board.command(), job, threads=1, timeout_s=2)
