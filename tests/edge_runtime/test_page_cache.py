"""What the kernel says of a file's pages, before and after they are dropped."""

import os
from pathlib import Path

import pytest

from edge_runtime import page_cache
from edge_runtime.page_cache import Residency, evict, filesystem, residency
from edge_runtime.tree import Tree

MIB = 2**20
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def dirty(tmp_path: Path) -> str:
    """Return a file that was written just now and reached no disk yet."""
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(4 * MIB))
    if filesystem(str(path)) in {"tmpfs", "ramfs", ""}:
        pytest.skip("temporary files are in memory here, and nothing can be dropped")
    return str(path)


def test_what_was_written_is_in_the_cache_and_what_was_evicted_is_not(dirty: str) -> None:
    before = residency([dirty])
    assert before == Residency(total_bytes=4 * MIB, resident_bytes=4 * MIB, largest=dirty)
    assert before.share == 1.0
    after = evict([dirty])
    assert after == Residency(total_bytes=4 * MIB, resident_bytes=0, largest="")
    assert after.share == 0.0
    assert residency([dirty]) == after


def test_looking_brings_nothing_back_and_reading_does(dirty: str) -> None:
    evict([dirty])
    assert [residency([dirty]).resident_bytes for _ in range(2)] == [0, 0]
    with Path(dirty).open("rb") as stream:
        stream.read(MIB)
    found = residency([dirty]).resident_bytes
    assert found is not None
    assert MIB <= found < 4 * MIB


def test_what_another_mapping_uses_stays_and_is_told(dirty: str) -> None:
    import mmap  # noqa: PLC0415 - this test alone plays another process

    evict([dirty])
    with Path(dirty).open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as held:
        assert held[0] == held[3 * MIB] == 0
        after = evict([dirty])
    assert after.largest == dirty
    assert after.share is not None
    assert 0 < after.share < 1


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no file system in memory here")
def test_files_in_memory_stay_and_their_file_system_has_a_name() -> None:
    path = SHARED_MEMORY / f"edge-test-{os.getpid()}"
    path.write_bytes(bytes(MIB))
    try:
        assert evict([str(path)]).share == 1.0
        assert filesystem(str(path)) == "tmpfs"
    finally:
        path.unlink()


def test_more_than_one_window_is_counted_to_the_page(dirty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "WINDOW_BYTES", MIB)
    with Path(dirty).open("r+b") as stream:
        stream.truncate(3 * MIB + 5)
    assert residency([dirty]).resident_bytes == 3 * MIB + 5


def test_what_is_no_file_to_ask_about_is_left_out(dirty: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    odd = [str(tmp_path / name) for name in ("pipe", "empty", "missing", "")] + ["/dev/null", "a\0b"]
    assert residency([*odd, dirty, dirty]).total_bytes == 4 * MIB
    assert residency(odd) == Residency(total_bytes=0, resident_bytes=0)
    assert residency(odd).share is None


def test_a_kernel_that_will_not_say_makes_it_unknown_never_zero(dirty: str) -> None:
    found = residency([dirty], resident=lambda _descriptor, _size: None)
    assert found == Residency(total_bytes=4 * MIB, resident_bytes=None)
    assert found.share is None


def test_of_others_files_the_kernel_tells_nothing(dirty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page_cache.is_told_of(dirty)
    assert not page_cache.is_told_of(f"{dirty} missing")
    monkeypatch.setattr("os.geteuid", lambda: Path(dirty).stat().st_uid + 1)
    assert page_cache.is_told_of(dirty) is os.access(dirty, os.W_OK)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not page_cache.is_told_of(dirty)


def test_the_file_system_is_that_of_the_device(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "proc/self/mountinfo"
    mounts.parent.mkdir(parents=True)
    mounts.write_text(
        f"22 1 0:99 / /proc rw - proc proc rw\n30 1 {os.major(device)}:{os.minor(device)} / /a rw - ext4 x rw\n"
    )
    assert filesystem(str(tmp_path), Tree(tmp_path)) == "ext4"
    mounts.write_text("nothing of the kind\n")
    assert filesystem(str(tmp_path), Tree(tmp_path)) == ""
    assert filesystem(str(tmp_path / "missing"), Tree(tmp_path)) == ""
