"""A file is hashed once a boot, and again whenever its stat record says that it could have changed."""

import json
import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from edge_runtime import trust
from edge_runtime.errors import InputError, ManifestError

CONTENT = b"the weights of a model" * 100


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(CONTENT)
    rest(path)
    return path


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    path = tmp_path / "boot_id"
    path.write_text("first\n")
    return path


@pytest.fixture
def ask(tmp_path: Path, file: Path, boot: Path) -> Callable[[], tuple[str, bool]]:
    return lambda: trust.sha256(file, folder=tmp_path / "trust", boot_id=boot)


def rest(path: Path) -> None:
    """Let a file grow old enough for its ctime to prove something."""
    while time.time_ns() - path.stat().st_ctime_ns < 2 * trust.YOUNGEST_NS:
        time.sleep(0.01)


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_a_file_is_hashed_once_and_then_trusted(ask: Callable[[], tuple[str, bool]]) -> None:
    assert ask() == (digest(CONTENT), False)
    assert ask() == (digest(CONTENT), True)


def test_a_change_of_content_is_seen_though_size_and_mtime_are_put_back(
    ask: Callable[[], tuple[str, bool]], file: Path
) -> None:
    ask()
    before, other = file.stat(), CONTENT[:-1] + b"!"
    with file.open("r+b") as stream:
        stream.write(other)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert ask() == (digest(other), False)


def test_a_file_in_the_place_of_another_is_hashed(ask: Callable[[], tuple[str, bool]], file: Path) -> None:
    ask()
    other = file.with_name("other")
    other.write_bytes(CONTENT[::-1])
    other.replace(file)
    assert ask() == (digest(CONTENT[::-1]), False)


def test_after_a_boot_everything_is_hashed_again(ask: Callable[[], tuple[str, bool]], boot: Path) -> None:
    ask()
    boot.write_text("second\n")
    assert ask() == (digest(CONTENT), False)
    assert ask() == (digest(CONTENT), True)


def test_without_a_boot_id_nothing_is_trusted(ask: Callable[[], tuple[str, bool]], boot: Path) -> None:
    boot.unlink()
    assert [ask()[1] for _ in range(3)] == [False, False, False]


def test_a_file_changed_a_moment_ago_is_not_trusted_yet(ask: Callable[[], tuple[str, bool]], file: Path) -> None:
    file.write_bytes(CONTENT)  # within this tick of the kernel's clock it could change again and keep its ctime
    assert ask()[1] is False
    assert ask()[1] is False
    rest(file)
    assert [ask()[1], ask()[1]] == [False, True]


def test_the_record_of_another_file_is_not_believed(
    ask: Callable[[], tuple[str, bool]], tmp_path: Path, file: Path, boot: Path
) -> None:
    ask()
    (own,) = (tmp_path / "trust").iterdir()
    other = tmp_path / "other.onnx"
    other.write_bytes(CONTENT[::-1])
    rest(other)
    trust.sha256(other, folder=tmp_path / "trust", boot_id=boot)
    (others,) = set((tmp_path / "trust").iterdir()) - {own}
    others.write_bytes(own.read_bytes())
    assert trust.sha256(other, folder=tmp_path / "trust", boot_id=boot) == (digest(CONTENT[::-1]), False)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[" * 100_000,
        lambda text: json.dumps({**json.loads(text), "more": 1}),
        lambda text: json.dumps({**json.loads(text), "schema": 99}),
        lambda text: json.dumps({**json.loads(text), "kind": "edge-graph"}),
        lambda text: json.dumps({**json.loads(text), "stat": [1, 2, 3]}),
        lambda text: json.dumps({**json.loads(text), "stat": [2**70] * 5}),
        lambda text: json.dumps({**json.loads(text), "sha256": 7}),
        lambda text: text + " " * trust.MAX_BYTES,
    ],
)
def test_a_damaged_record_costs_a_hash_and_nothing_else(
    ask: Callable[[], tuple[str, bool]], tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    ask()
    (record,) = (tmp_path / "trust").iterdir()
    record.write_text(spoil(record.read_text()))
    assert ask() == (digest(CONTENT), False)
    assert ask() == (digest(CONTENT), True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_record_of_another_user_is_not_believed(ask: Callable[[], tuple[str, bool]], tmp_path: Path) -> None:
    ask()
    (record,) = (tmp_path / "trust").iterdir()
    os.chown(record, 12345, 12345)
    assert ask()[1] is False


def test_where_no_record_can_be_kept_every_load_hashes(tmp_path: Path, file: Path, boot: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    for _ in range(2):
        assert trust.sha256(file, folder=tmp_path / "taken" / "trust", boot_id=boot) == (digest(CONTENT), False)


def test_a_file_that_is_not_there_or_no_file_is_the_callers_error(tmp_path: Path, boot: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ManifestError):
            trust.sha256(path, folder=tmp_path / "trust", boot_id=boot, error=ManifestError)


def test_the_records_do_not_pile_up(tmp_path: Path, file: Path, boot: Path) -> None:
    folder = tmp_path / "trust"
    folder.mkdir()
    for index in range(trust.KEPT + 20):
        (folder / f"{index:032x}.json").write_text("old")
        os.utime(folder / f"{index:032x}.json", (index, index))
    for index in range(trust.KEPT):
        (folder / f"letter{index}.json").write_text("of somebody else")
    trust.sha256(file, folder=folder, boot_id=boot)
    kept = {path.name for path in folder.iterdir()}
    assert sum(name.startswith("letter") for name in kept) == trust.KEPT
    assert len(kept) == 2 * trust.KEPT
    assert f"{0:032x}.json" not in kept
    assert f"{trust.KEPT + 19:032x}.json" in kept
    assert trust.sha256(file, folder=folder, boot_id=boot)[1] is True


def test_forgetting_makes_the_next_load_hash(ask: Callable[[], tuple[str, bool]], tmp_path: Path) -> None:
    ask()
    trust.forget(tmp_path / "trust")
    assert ask()[1] is False


def test_a_foreign_file_is_told_by_its_owner(file: Path) -> None:
    trust.refuse_foreign(file)
    if os.geteuid() == 0:
        os.chown(file, 12345, 12345)
        with pytest.raises(InputError, match="belongs to user 12345"):
            trust.refuse_foreign(file)
