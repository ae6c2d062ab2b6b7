"""Files are read within limits, written whole or not at all, and joined without escape."""

import hashlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import files
from edge_runtime.errors import InputError, ManifestError, OutputExists, Unwritable

ROOT = Path(__file__).resolve().parents[2]
ESCAPES = [
    "..", "../x", "a/../../x", "/etc/passwd", "", ".", "./a", "a/", "a//b", "a/./b", "C:x", "a\\..\\b", "a\0b",
    "a\nb", "a\x7f", "\ud800", "a\u202eb", "*",
    "golden/" + "x" * 256, "é" * 128,
]  # fmt: skip


@pytest.mark.parametrize("text", ESCAPES)
def test_a_path_that_may_leave_its_folder_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ManifestError, match="may leave its folder"):
        files.inside(tmp_path, text, error=ManifestError)


@given(st.text(max_size=30))
def test_whatever_the_text_the_joined_path_stays_inside(text: str) -> None:
    root = Path("/nowhere/root")
    try:
        joined = files.inside(root, text)
    except InputError:
        return
    assert os.path.normpath(joined).startswith("/nowhere/root/")


def test_a_link_that_leaves_the_folder_is_refused_and_one_within_is_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("x")
    (root / "own").write_text("x")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    (root / "in").symlink_to(root / "own")
    for text in ("out", "up/secret"):
        with pytest.raises(InputError, match="link that leaves"):
            files.inside(root, text)
    assert files.inside(root, "in") == root / "in"


def test_reading_stops_at_the_limit_to_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"12345")
    assert files.read_bytes(file, limit_bytes=5) == b"12345"
    with pytest.raises(ManifestError, match="larger than the 4 bytes"):
        files.read_bytes(file, limit_bytes=4, error=ManifestError)


def test_reading_reserves_what_the_file_holds_and_not_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "small"
    file.write_bytes(b"small")
    code = (
        "import pathlib, resource, sys\n"
        "from edge_runtime import files\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "print(files.read_bytes(pathlib.Path(sys.argv[1]), limit_bytes=1 << 40))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "b'small'\n", done.stderr


def test_a_pipe_a_device_and_a_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), tmp_path):
        with pytest.raises(InputError, match=r"regular file|is a directory"):
            files.read_bytes(path, limit_bytes=10)
        with pytest.raises(InputError, match=r"regular file|is a directory"):
            files.sha256(path)


def test_a_missing_file_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file") as refused:
        files.read_bytes(tmp_path / "nope", limit_bytes=1)
    assert refused.value.where == str(tmp_path / "nope")


def test_the_hash_of_a_file_of_several_chunks_is_right(tmp_path: Path) -> None:
    content = os.urandom(files.CHUNK_BYTES * 2 + 17)
    (tmp_path / "f").write_bytes(content)
    assert files.sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_a_reader_sees_the_old_content_or_the_new_and_never_half(tmp_path: Path) -> None:
    file, size = tmp_path / "f", 300_000
    files.write_whole(file, b"a" * size)
    seen: set[tuple[int, bytes]] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            content = file.read_bytes()
            seen.add((len(content), bytes(sorted(set(content)))))

    reader = threading.Thread(target=read)
    reader.start()
    for letter in (b"b", b"a") * 20:
        files.write_whole(file, letter * size)
    stop.set()
    reader.join()
    assert seen <= {(size, b"a"), (size, b"b")}
    assert seen
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_a_written_file_has_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_whole(tmp_path / "f", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    code = (
        "import pathlib, resource, signal, sys\n"
        "from edge_runtime import errors, files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    files.write_whole(pathlib.Path(sys.argv[1]), b'n' * 5000)\n"
        "except errors.Unwritable as error:\n"
        "    print(error.what)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "can't write: file too large\n", done.stderr
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


def test_a_folder_that_is_not_there_is_unwritable(tmp_path: Path) -> None:
    with pytest.raises(Unwritable, match="no such file"):
        files.write_whole(tmp_path / "nope" / "f", b"")


def test_devices_pipes_and_folders_are_never_replaced_by_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path):
        with pytest.raises(Unwritable, match="not a regular file"):
            files.write_whole(path, b"x")
    assert stat.S_ISFIFO(fifo.lstat().st_mode)


def test_a_taken_output_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nope")
    for name in ("there", "dangling"):
        with pytest.raises(OutputExists):
            files.refuse_taken(tmp_path / name, replace=False)
        files.refuse_taken(tmp_path / name, replace=True)
    files.refuse_taken(tmp_path / "free", replace=False)
    with pytest.raises(Unwritable, match="no such folder"):
        files.refuse_taken(tmp_path / "nope" / "free", replace=False)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def staged(final: Path, *, replace: bool = False, content: str = "new") -> None:
    with files.staged_directory(final, replace=replace, marker="manifest.json") as folder:
        (folder / "manifest.json").write_text(content)


def test_a_staged_directory_appears_whole(tmp_path: Path) -> None:
    final = tmp_path / "x.edge"
    with files.staged_directory(final, replace=False, marker="manifest.json") as folder:
        assert not final.exists()
        assert folder.parent == tmp_path  # a rename works only within one file system
        (folder / "manifest.json").write_text("new")
    assert names(tmp_path) == ["x.edge"]
    assert (final / "manifest.json").read_text() == "new"


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_and_the_old_directory_untouched(tmp_path: Path, problem: type[BaseException]) -> None:
    staged(tmp_path / "x.edge", content="old")
    with (  # noqa: PT012 - what happens within the folder is the point
        pytest.raises(problem),
        files.staged_directory(tmp_path / "x.edge", replace=True, marker="manifest.json") as folder,
    ):
        (folder / "half").write_text("x")
        raise problem
    assert names(tmp_path) == ["x.edge"]
    assert (tmp_path / "x.edge" / "manifest.json").read_text() == "old"


def test_replacing_needs_to_be_asked_for_and_removes_the_old_one(tmp_path: Path) -> None:
    final = tmp_path / "x.edge"
    staged(final, content="old")
    (final / "more").write_text("x")
    with pytest.raises(OutputExists, match="there already"):
        staged(final)
    staged(final, replace=True)
    assert names(tmp_path) == ["x.edge"]
    assert names(final) == ["manifest.json"]


def test_force_never_replaces_what_is_not_an_artifact(tmp_path: Path) -> None:
    home, link = tmp_path / "home", tmp_path / "link"
    home.mkdir()
    (home / "thesis").write_text("x")
    staged(tmp_path / "x.edge")
    link.symlink_to(tmp_path / "x.edge")
    for foreign in (home, link, home / "thesis"):
        with pytest.raises(OutputExists, match="not ours to replace"):
            staged(foreign, replace=True)
    assert (home / "thesis").read_text() == "x"


def test_whoever_took_the_place_meanwhile_keeps_it(tmp_path: Path) -> None:
    final = tmp_path / "x.edge"
    with (  # noqa: PT012 - what happens within the folder is the point
        pytest.raises(OutputExists),
        files.staged_directory(final, replace=False, marker="manifest.json") as folder,
    ):
        (folder / "manifest.json").write_text("ours")
        final.mkdir()
        (final / "theirs").write_text("x")
    assert names(final) == ["theirs"]
    assert names(tmp_path) == ["x.edge"]
