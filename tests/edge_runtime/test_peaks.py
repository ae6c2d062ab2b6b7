"""Peaks: what is measured is plausible, what is kept is found again, what is damaged is measured anew."""

from pathlib import Path

import pytest

from edge_runtime import peaks
from edge_runtime.peaks import Peaks
from edge_runtime.tree import Tree

SOME = Peaks(
    threads=2,
    copy_bytes=1 << 20,
    copy_bytes_per_s=10 * 10**9,
    float32_operations_per_s=100 * 10**9,
    int8_operations_per_s=400 * 10**9,
)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_copy_is_faster_than_a_card_and_slower_than_light(threads: int) -> None:
    size = 4 << 20
    best_ns = peaks._copy_ns(size, threads)
    assert 10**8 < 2 * size * 10**9 / best_ns < 10**12


def test_a_product_through_onnxruntime_takes_some_time() -> None:
    assert 10**8 < peaks._product_per_s("MatMul", "float32", "float32", "float32", 1) < 10**13


def test_the_faster_of_the_products_is_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    # the larger one was disturbed: it took twice as long as its operations need at the smaller one's rate
    times = {1024: 2 * 8_000_000, 512: 1_000_000}
    monkeypatch.setattr(peaks, "_product_ns", lambda _, size, *__, **___: times[size])
    assert peaks._product_per_s("MatMul", "float32", "float32", "float32", 1) == 2 * 512**3 * 1000


@pytest.mark.parametrize(
    ("operations", "moved", "arithmetic", "least_ns"),
    [
        (100_000, 10, "float32", 1000.0),  # bound by arithmetic
        (100_000, 10, "int8", 250.0),
        (100, 10_000, "float32", 1000.0),  # bound by memory
        (0, 10_000, None, 1000.0),  # nothing but moving needs no arithmetic's peak
        (100, 10_000, None, None),
    ],
)
def test_the_least_time_is_the_longer_of_computing_and_moving(
    operations: int, moved: int, arithmetic: str | None, least_ns: float | None
) -> None:
    assert SOME.least_ns(operations, moved, arithmetic=arithmetic) == pytest.approx(least_ns)


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_the_copy_is_four_times_the_last_level_cache(tmp_path: Path) -> None:
    for index, size in enumerate(("32K", "1024K", "2048K")):
        write(tmp_path, f"sys/devices/system/cpu/cpu0/cache/index{index}/size", f"{size}\n")
    assert peaks.copy_size(Tree(tmp_path)) == 4 * 2048 * 1024


@pytest.mark.parametrize("text", ["", "K", "-1K", "many", "9" * 30 + "K"])
def test_a_cache_that_tells_no_size_is_taken_for_a_boards(tmp_path: Path, text: str) -> None:
    write(tmp_path, "sys/devices/system/cpu/cpu0/cache/index0/size", text)
    assert peaks.copy_size(Tree(tmp_path)) == 4 * peaks.FALLBACK_CACHE_BYTES


def test_a_small_memory_bounds_the_copy(tmp_path: Path) -> None:
    write(tmp_path, "sys/devices/system/cpu/cpu0/cache/index0/size", "32768K")
    write(tmp_path, "proc/meminfo", "MemTotal:  262144 kB\nMemAvailable:  131072 kB\n")
    assert peaks.copy_size(Tree(tmp_path)) == 131072 * 1024 // 8


def test_kept_peaks_are_found_again(tmp_path: Path) -> None:
    peaks.keep(tmp_path / "peaks", "key", SOME)
    assert peaks.read_cached(tmp_path / "peaks", "key") == SOME
    assert peaks.read_cached(tmp_path / "peaks", "other") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [('"schema": 1', '"schema": 2'), ("10000000000", "0"), ("10000000000", "-1"), ("{", "["), ('"threads": 2,', "")],
)
def test_a_damaged_file_is_as_none(tmp_path: Path, old: str, new: str) -> None:
    peaks.keep(tmp_path, "key", SOME)
    file = tmp_path / "key.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    assert peaks.read_cached(tmp_path, "key") is None


def test_a_place_that_takes_no_file_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    peaks.keep(tmp_path / "taken", "key", SOME)
    assert peaks.read_cached(tmp_path / "taken", "key") is None


def test_the_cache_stays_small(tmp_path: Path) -> None:
    for index in range(peaks.KEPT + 5):
        peaks.keep(tmp_path, f"key{index}", SOME)
    assert len(list(tmp_path.iterdir())) == peaks.KEPT
    assert peaks.read_cached(tmp_path, f"key{peaks.KEPT + 4}") == SOME


def test_the_key_tells_boots_engines_cpus_and_threads_apart(tmp_path: Path) -> None:
    def key(
        boot: str = "b1", machine: str = "m", engine: str = "e", cpus: tuple[int, ...] = (0,), threads: int = 1
    ) -> str:
        write(tmp_path, "proc/sys/kernel/random/boot_id", boot)
        return peaks.cache_key(machine, engine=engine, cpus=cpus, threads=threads, tree=Tree(tmp_path))

    keys = [key(), key(boot="b2"), key(machine="n"), key(engine="f"), key(cpus=(1,)), key(threads=2)]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]


def test_without_a_boots_name_nothing_is_kept(tmp_path: Path) -> None:
    key = peaks.cache_key("m", engine="e", cpus=(0,), threads=1, tree=Tree(tmp_path))
    assert key == ""
    peaks.keep(tmp_path / "peaks", key, SOME)
    assert not (tmp_path / "peaks").exists()
    assert peaks.read_cached(tmp_path / "peaks", key) is None


def test_peaks_measured_again_never_get_lower(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    told = [
        {
            "threads": 1,
            "copy_bytes": 10,
            "copy_bytes_per_s": 5,
            "float32_operations_per_s": 50,
            "int8_operations_per_s": 7,
        },
        {
            "threads": 1,
            "copy_bytes": 10,
            "copy_bytes_per_s": 9,
            "float32_operations_per_s": 40,
            "int8_operations_per_s": 8,
        },
    ]
    runs: list[int] = []

    def run() -> dict[str, dict[str, object]]:
        runs.append(len(runs))
        return {"peaks": {"event": "peaks", "peaks": told[runs[-1]]}}

    def asked(*, again: bool = False) -> peaks.Peaks:
        return peaks.known_or_measured("machine", engine="e 1", threads=1, cpus=(0,), run=run, again=again)

    assert asked() == asked() == peaks.Peaks(**told[0])
    assert runs == [0]
    better = peaks.Peaks(**{**told[1], "float32_operations_per_s": 50})
    assert asked(again=True) == asked() == better
    assert runs == [0, 1]
