"""Facts of recorded and synthetic machines; tests/data/boards/README.md says where the trees come from."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.environment import GIB, Conditions, available_cpus, conditions, machine, meminfo_bytes
from edge_runtime.tree import Tree

BOARDS = Path(__file__).resolve().parents[1] / "data" / "boards"
PI = Tree(BOARDS / "raspberry-pi-4-synthetic")
SERVER = Tree(BOARDS / "x86-64-virtual-machine")


def test_a_board_is_named_by_its_device_tree() -> None:
    found = machine(PI)
    assert (found.model, found.cores, found.ram_bytes) == ("Raspberry Pi 4 Model B Rev 1.4", 4, 3885396 * 1024)
    assert found.kernel


def test_a_server_is_named_by_its_cpu() -> None:
    found = machine(SERVER)
    assert (found.model, found.cores, found.ram_bytes) == ("AMD EPYC", 2, 24684084 * 1024)


def test_the_key_tells_machines_apart_and_outlives_a_reboot(tmp_path: Path) -> None:
    keys = {machine(tree).key for tree in (PI, SERVER)}
    assert len(keys) == 2
    for name, kib in (("a", 8_000_000), ("b", 8_060_000), ("c", 16_000_000)):
        (tmp_path / name / "proc").mkdir(parents=True)
        (tmp_path / name / "proc" / "meminfo").write_text(f"MemTotal: {kib} kB\n")
    one, rebooted, bigger = (machine(Tree(tmp_path / name)).key for name in "abc")
    assert one == rebooted
    assert one != bigger


@pytest.mark.parametrize(
    ("files", "limit_khz"),
    [
        ({"cpufreq/scaling_max_freq": 4_700_000, "cpufreq/base_frequency": 2_400_000}, 2_400_000),
        ({"cpufreq/scaling_max_freq": 1_200_000, "cpufreq/base_frequency": 2_400_000}, 1_200_000),
        ({"cpufreq/scaling_max_freq": 5_000_000, "acpi_cppc/nominal_freq": 3_400}, 3_400_000),
        ({"cpufreq/scaling_max_freq": 5_000_000, "acpi_cppc/nominal_freq": 0}, 5_000_000),
        ({}, None),
    ],
)
def test_a_turbo_is_no_limit_that_a_clock_is_held_to(
    files: dict[str, int], limit_khz: int | None, tmp_path: Path
) -> None:
    for name, value in files.items():
        file = tmp_path / "sys/devices/system/cpu/cpu0" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    assert conditions((0,), Tree(tmp_path)).frequency_limit_khz == limit_khz


def test_conditions_are_those_of_the_cpus_in_use() -> None:
    assert conditions((0, 1), PI) == Conditions(
        governor="ondemand",
        frequency_khz=750_000,
        frequency_floor_khz=600_000,
        frequency_limit_khz=1_500_000,
        temperature_millicelsius=52_095,
        throttled_bits=0x50000,
        cooling_steps=None,
        undervoltage=True,
        load_1m_hundredths=125,
        uptime_ms=8_123_450,
        busy_ms=(81530 + 210 + 33075 + 0 + 801) * 10,
        steal_ms=0,
        own_ms=270,
        pressure_cpu_us=None,
        pressure_memory_us=None,
        involuntary_switches=7,
        major_faults=0,
        swapped_bytes=0,
    )
    assert conditions((3,), PI).frequency_khz == 1_500_000


def test_counters_of_a_recorded_server_are_read() -> None:
    found = conditions((0, 1), SERVER)
    assert found.uptime_ms == 5_220_230
    assert found.steal_ms == 8949 * 10
    assert found.busy_ms == (126877 + 192 + 22562 + 0 + 520) * 10
    assert found.own_ms == 120
    assert found.pressure_memory_us == 0
    assert found.pressure_cpu_us == 124_610_294


def test_pressure_is_that_of_some_task_waiting() -> None:
    found = conditions((0,), Tree(BOARDS / "big-little-phone-synthetic"))
    assert (found.pressure_cpu_us, found.pressure_memory_us) == (812_345_678, 3_456_789)


def test_the_kernel_and_free_memory_are_those_of_the_tree() -> None:
    assert machine(PI).kernel == "6.1.21-v8+"
    assert meminfo_bytes(PI, "MemAvailable") == 3_493_328 * 1024
    assert meminfo_bytes(PI, "NoSuchLine") is None


def test_different_governors_are_all_named_and_the_hottest_zone_counts(tmp_path: Path) -> None:
    for cpu, governor in enumerate(("powersave", "performance")):
        policy = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        policy.mkdir(parents=True)
        (policy / "scaling_governor").write_text(governor + "\n")
    for zone, text in enumerate(("41000", "-5000", "70500", "broken")):
        (tmp_path / f"sys/class/thermal/thermal_zone{zone}").mkdir(parents=True)
        (tmp_path / f"sys/class/thermal/thermal_zone{zone}/temp").write_text(text + "\n")
    found = conditions((0, 1), Tree(tmp_path))
    assert (found.governor, found.temperature_millicelsius) == ("performance,powersave", 70_500)


def test_what_a_machine_does_not_tell_is_none_and_never_zero(tmp_path: Path) -> None:
    found = conditions((0, 1), SERVER)
    hidden = (found.governor, found.frequency_khz, found.temperature_millicelsius, found.throttled_bits)
    assert hidden == (None, None, None, None)
    assert (found.cooling_steps, found.undervoltage, found.load_1m_hundredths) == (None, None, 58)
    assert conditions((0,), Tree(tmp_path)) == Conditions()
    assert machine(Tree(tmp_path)).ram_bytes is None


@given(content=st.binary(max_size=40) | st.sampled_from([b"--5", b"nan", b"1e999", "²".encode(), b"MemTotal: kB kB"]))
def test_whatever_the_kernel_says_there_is_an_answer(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "odd"
    for name in (
        "proc/loadavg",
        "proc/meminfo",
        "proc/cpuinfo",
        "sys/class/thermal/thermal_zone0/temp",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    assert machine(Tree(root)).cores == 1
    found = conditions((0,), Tree(root))
    assert found.load_1m_hundredths is None or isinstance(found.load_1m_hundredths, int)


def test_this_machine_has_the_cpus_that_the_system_gives_us() -> None:
    assert set(available_cpus()) == os.sched_getaffinity(0)
    assert machine().ram_bytes is not None
    assert machine().ram_bytes > GIB // 4  # type: ignore[operator]
