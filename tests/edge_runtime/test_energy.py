import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime import energy
from edge_runtime.energy import Accumulator, Meter, Source
from edge_runtime.tree import Tree

BOARDS = Path(__file__).resolve().parents[1] / "data" / "boards"
S = 10**9


def accumulated(readings: list[tuple[float, int | None]], *wraps_at_uj: int) -> Accumulator:
    values = iter([None if value is None else (value,) for _, value in readings])
    total = Accumulator(Source("test", lambda: next(values), wraps_at_uj))
    for at_s, _ in readings:
        total.add(round(at_s * S))
    return total


def rapl(root: Path, *zones: tuple[str, str, int, int]) -> Tree:
    for zone, name, counter, limit in zones:
        folder = root / "sys/class/powercap" / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "energy_uj").write_text(f"{counter}\n")
        (folder / "max_energy_range_uj").write_text(f"{limit}\n")
    return Tree(root)


def test_powers_are_summed_by_the_trapezoidal_rule() -> None:
    total = accumulated([(0, 2_000_000), (1, 4_000_000), (3, 4_000_000)])
    assert (total.microjoules, total.elapsed_ns, total.samples) == (3_000_000 + 8_000_000, 3 * S, 3)


def test_a_counter_is_told_by_its_differences_over_a_wrap() -> None:
    total = accumulated([(0, 900), (1, 990), (2, 50), (3, 60)], 1000)
    assert total.microjoules == 90 + 60 + 10


def test_a_failed_reading_is_bridged_and_a_dead_meter_tells_nothing() -> None:
    assert accumulated([(0, 10), (1, None), (2, 30)]).microjoules == 40
    assert accumulated([(0, None), (1, 5), (2, None)]).microjoules is None
    assert accumulated([]).microjoules is None


def test_a_jetsons_joules_are_those_of_its_whole_supply() -> None:
    source = energy.find(Tree(BOARDS / "jetson-orin-nano-synthetic"))
    assert source is not None
    assert source.rail == "ina3221, VDD_IN"
    assert source.read() == (5056 * 1520,)


def test_without_a_whole_supply_the_named_channels_are_summed(tmp_path: Path) -> None:
    folder = tmp_path / "sys/class/hwmon/hwmon0"
    folder.mkdir(parents=True)
    files = {"name": "ina3221", "in1_label": "VDD_GPU_SOC", "in1_input": "1000", "curr1_input": "5",
             "in2_label": "VDD_CPU_CV", "in2_input": "2000", "curr2_input": "7", "in3_label": "NC"}  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    source = energy.find(Tree(tmp_path))
    assert source is not None
    assert (source.rail, source.read()) == ("ina3221, VDD_GPU_SOC + VDD_CPU_CV", (19_000,))
    (folder / "curr2_input").unlink()
    assert energy.find(Tree(tmp_path)) is None  # half a sum is no sum


@pytest.mark.parametrize(
    ("files", "microwatts"),
    [({"power1_input": "2500000"}, 2_500_000), ({"in1_input": "5000", "curr1_input": "300"}, 1_500_000)],
)
def test_an_ina219_tells_power_or_volts_and_amperes(tmp_path: Path, files: dict[str, str], microwatts: int) -> None:
    folder = tmp_path / "sys/class/hwmon/hwmon2"
    folder.mkdir(parents=True)
    for name, text in {"name": "ina219", **files}.items():
        (folder / name).write_text(text + "\n")
    source = energy.find(Tree(tmp_path))
    assert source is not None
    assert source.read() == (microwatts,)


def test_a_raspberry_pi_5_sums_the_rails_that_tell_volts_and_amperes() -> None:
    source = energy.find(Tree(BOARDS / "raspberry-pi-5-synthetic"))
    assert source is not None
    assert source.rail.startswith("Raspberry Pi 5 power chip")
    expected_w = (
        0.10 * 3.70 + 0.11 * 3.31 + 0.16 * 1.80 + 0.01 * 1.10 + 0.24 * 1.11 + 0.31 * 0.80 + 1.40 * 0.90
        + 0.004 * 0.80 + 0.02 * 5.08
    )  # fmt: skip
    assert source.read() == (round(expected_w * 1e6),)


def test_rapl_counts_packages_and_not_their_parts(tmp_path: Path) -> None:
    tree = rapl(
        tmp_path,
        ("intel-rapl:0", "package-0", 100, 1000),
        ("intel-rapl:0:0", "core", 60, 1000),
        ("intel-rapl:1", "package-1", 7, 500),
        ("intel-rapl:2", "psys", 900, 1000),
    )
    source = energy.find(tree)
    assert source is not None
    assert (source.read(), source.wraps_at_uj) == ((100, 7), (1000, 500))


def test_a_supplys_meter_goes_before_the_processors_counter(tmp_path: Path) -> None:
    tree = rapl(tmp_path, ("intel-rapl:0", "package-0", 100, 1000))
    folder = tmp_path / "sys/class/hwmon/hwmon0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("ina226\n")
    (folder / "power1_input").write_text("5\n")
    source = energy.find(tree)
    assert source is not None
    assert source.rail.startswith("ina226")


def test_no_meter_is_told_as_such() -> None:
    for name in ("raspberry-pi-4-synthetic", "x86-64-virtual-machine"):
        tree = Tree(BOARDS / name)
        assert energy.find(tree) is None
        assert "no meter" in energy.why_none(tree)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder that every user may enter; afterwards be root again, if we were."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        root = os.geteuid() == 0
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)


def test_a_counter_only_root_may_read_is_told_with_the_command(open_folder: Path) -> None:
    tree = rapl(open_folder, ("intel-rapl:0", "package-0", 100, 1000))
    (open_folder / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    assert energy.find(tree) is None
    assert "sudo chmod a+r" in energy.why_none(tree)


def test_a_meter_reads_along_while_its_block_lasts(tmp_path: Path) -> None:
    tree = rapl(tmp_path, ("intel-rapl:0", "package-0", 0, 10**6))
    source = energy.find(tree)
    assert source is not None
    threads = threading.active_count()
    with Meter(source, poll_s=0.01) as meter:
        (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("4000\n")
        time.sleep(0.1)
        (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("9000\n")
    assert meter.total.microjoules == 9000
    assert meter.total.samples >= 4
    assert meter.total.elapsed_ns >= 0.1 * S
    assert threading.active_count() == threads
