from pathlib import Path

import pytest

from edge_runtime import processors
from edge_runtime.tree import Tree

BOARDS = Path(__file__).resolve().parents[1] / "data" / "boards"
PHONE, JETSON = Tree(BOARDS / "big-little-phone-synthetic"), Tree(BOARDS / "jetson-orin-nano-synthetic")


def test_a_phone_has_three_clusters_told_by_capacity_fastest_first() -> None:
    found = processors.clusters(PHONE)
    assert [(one.core, one.cpus, one.capacity) for one in found] == [
        ("Cortex-X1", (7,), 1024),
        ("Cortex-A78", (4, 5, 6), 842),
        ("Cortex-A55", (0, 1, 2, 3), 258),
    ]
    fastest = found[0]
    assert (fastest.governor, fastest.current_khz) == ("schedutil", 1_555_200)
    assert (fastest.lowest_khz, fastest.highest_khz, fastest.limit_high_khz) == (844_800, 2_841_600, 1_900_800)


def test_without_capacities_the_shared_clock_tells_clusters_apart() -> None:
    assert [one.cpus for one in processors.clusters(JETSON)] == [(0, 1, 2, 3), (4, 5)]


def test_without_either_all_cpus_are_one_cluster(tmp_path: Path) -> None:
    for cpu in range(3):
        (tmp_path / f"sys/devices/system/cpu/cpu{cpu}").mkdir(parents=True)
    (only,) = processors.clusters(Tree(tmp_path))
    assert only.cpus == (0, 1, 2)
    assert (only.core, only.capacity, only.governor, only.current_khz, only.highest_khz) == (None,) * 5
    assert processors.clusters(Tree(tmp_path / "nowhere")) == ()


@pytest.mark.parametrize(
    ("board", "fast", "chosen"),
    [
        ("big-little-phone-synthetic", (7,), {1: (7,), 2: (6, 7), 5: (3, 4, 5, 6, 7)}),
        ("jetson-orin-nano-synthetic", (0, 1, 2, 3, 4, 5), {1: (5,), 2: (4, 5)}),
        ("raspberry-pi-5-synthetic", (0, 1, 2, 3), {1: (3,), 3: (1, 2, 3), 9: (0, 1, 2, 3)}),
        ("nowhere", (0, 1, 2, 3, 4, 5, 6, 7), {1: (7,), 2: (6, 7)}),
    ],
)
def test_what_is_measured_on_is_of_the_fastest_kind_and_not_the_first(
    board: str, fast: tuple[int, ...], chosen: dict[int, tuple[int, ...]]
) -> None:
    tree = Tree(BOARDS / board)
    available = processors.cpus(tree) or tuple(range(8))
    assert processors.fastest(tree, available) == fast
    assert {count: processors.choose(tree, available, count) for count in chosen} == chosen


def test_where_the_fastest_may_not_be_used_those_that_may_are_all_there_is() -> None:
    assert processors.fastest(PHONE, (0, 1)) == (0, 1)
    assert processors.choose(PHONE, (0, 1, 4), 2) == (1, 4)


def test_cores_with_a_clock_of_their_own_are_of_one_kind_within_a_tenth(tmp_path: Path) -> None:
    for cpu, highest in enumerate((5_100_000, 5_300_000, 5_100_000, 3_800_000)):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "related_cpus").write_text(str(cpu))
        (folder / "cpuinfo_max_freq").write_text(str(highest))
    tree = Tree(tmp_path)
    assert processors.fastest(tree, (0, 1, 2, 3)) == (0, 1, 2)
    assert processors.choose(tree, (0, 1, 2, 3), 2) == (1, 2)


@pytest.mark.parametrize(("cpus", "counts"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6))])
def test_a_sweep_doubles_and_ends_with_all(cpus: int, counts: tuple[int, ...]) -> None:
    assert processors.sweep(cpus) == counts


def test_one_cpu_without_a_capacity_makes_none_of_them_count(tmp_path: Path) -> None:
    for cpu in range(2):
        (tmp_path / f"sys/devices/system/cpu/cpu{cpu}").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/cpu0/cpu_capacity").write_text("512\n")
    assert [one.cpus for one in processors.clusters(Tree(tmp_path))] == [(0, 1)]


def test_a_core_we_have_no_name_for_is_told_by_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "sys/devices/system/cpu/cpu0").mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nCPU implementer : 0x61\nCPU part : 0x022\n")
    assert processors.clusters(Tree(tmp_path))[0].core == "implementer 0x61 part 0x22"


def test_flags_of_both_kinds_of_processor() -> None:
    assert "asimddp" in processors.flags(PHONE)
    assert {"avx2", "fma"} <= set(processors.flags(Tree(BOARDS / "x86-64-virtual-machine")))
    assert processors.flags(Tree(BOARDS / "nowhere")) == ()
