import hashlib
from pathlib import Path

import pytest

from export_tools.errors import SourceError
from export_tools.remembered import recall, remember
from export_tools.request import SourceSpec

KEY = "ab" * 32
SPEC = SourceSpec(entry="model.py:build", weights="w.pt", cwd="/somewhere")


def test_what_was_remembered_is_recalled_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "sources"
    assert recall(KEY, folder=folder) is None
    assert remember(KEY, SPEC, folder=folder) is None
    assert recall(KEY, folder=folder) == SPEC
    assert recall("cd" * 32, folder=folder) is None
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_users_cache_is_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert remember(KEY, SPEC) is None
    assert (tmp_path / "edge/sources" / f"{KEY}.json").is_file()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert remember(KEY, SPEC) is None
    assert (tmp_path / "home/.cache/edge/sources" / f"{KEY}.json").is_file()


def test_a_private_pickle_is_kept_with_its_hash(tmp_path: Path) -> None:
    pickled = tmp_path / "module.pt"
    pickled.write_bytes(b"pickle")
    spec = SourceSpec(entry=str(pickled), trust_pickle=True, pickle_sha256=hashlib.sha256(b"pickle").hexdigest())
    assert remember(KEY, spec, folder=tmp_path / "sources") is None
    pickled.unlink()
    recalled = recall(KEY, folder=tmp_path / "sources")
    assert recalled is not None
    assert Path(recalled.entry).read_bytes() == b"pickle"
    assert recalled.pickle_sha256 == spec.pickle_sha256


def test_a_place_that_can_not_be_written_is_a_note_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reason = remember(KEY, SPEC, folder=tmp_path / "file" / "sources")
    assert reason is not None
    assert "Not a directory" in reason


def test_a_memory_that_others_can_write_names_no_code(tmp_path: Path) -> None:
    assert remember(KEY, SPEC, folder=tmp_path / "sources") is None
    (tmp_path / "sources").chmod(0o777)
    with pytest.raises(SourceError, match="can be written by others"):
        recall(KEY, folder=tmp_path / "sources")
    reason = remember(KEY, SPEC, folder=tmp_path / "sources")
    assert reason is not None
    assert "can be written by others" in reason


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"kind": "edge-source", "schema": 2, "source": "{}"}',
        '{"kind": "edge-source", "schema": 1, "source": "{}"}',
    ],
)
def test_a_damaged_memory_is_told_with_its_file(tmp_path: Path, content: str) -> None:
    assert remember(KEY, SPEC, folder=tmp_path) is None
    (tmp_path / f"{KEY}.json").write_text(content)
    with pytest.raises(SourceError) as caught:
        recall(KEY, folder=tmp_path)
    assert KEY in caught.value.where
