"""Rules of when a machine is not fit to measure: each holds on one side of its threshold and is silent on the other."""

from dataclasses import replace

import pytest

from edge_runtime import fitness
from edge_runtime.environment import Conditions
from edge_runtime.fitness import Finding
from edge_runtime.limits import Limits
from edge_runtime.processes import Busy
from edge_runtime.processors import Cluster

CALM = Conditions(
    governor="performance",
    frequency_khz=2_000_000,
    frequency_floor_khz=600_000,
    frequency_limit_khz=2_000_000,
    temperature_millicelsius=50_000,
    throttled_bits=0,
    cooling_steps=0,
    undervoltage=False,
    load_1m_hundredths=100,
    uptime_ms=1_000_000,
    busy_ms=500_000,
    steal_ms=0,
    own_ms=1000,
    pressure_cpu_us=0,
    pressure_memory_us=0,
    involuntary_switches=0,
    major_faults=10,
    swapped_bytes=0,
)
LATER = replace(CALM, uptime_ms=1_010_000, busy_ms=510_000, own_ms=11_000)
CLUSTER = Cluster(
    cpus=(0, 1),
    core="Cortex-A72",
    capacity=None,
    governor="performance",
    current_khz=1_500_000,
    lowest_khz=600_000,
    highest_khz=1_500_000,
    limit_low_khz=600_000,
    limit_high_khz=1_500_000,
)
FREE = Limits(cpu_hundredths=None, memory_bytes=None)


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in findings]


def test_a_calm_block_and_a_machine_that_tells_nothing_have_no_finding() -> None:
    assert fitness.of_block(CALM, LATER) == []
    assert fitness.of_block(Conditions(), Conditions()) == []
    assert fitness.of_launches([]) == []


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ({"governor": "ondemand"}, "governor"),
        ({"governor": "ondemand,performance"}, "governor"),
        ({"frequency_khz": 1_799_999}, "clock-held"),
        ({"throttled_bits": 0x1}, "throttled"),
        ({"throttled_bits": 0x40000}, "throttled"),  # risen since the block began, and over again
        ({"throttled_bits": None, "undervoltage": True}, "undervoltage"),
        ({"throttled_bits": 0x8}, "soft-limit"),
        ({"cooling_steps": 1}, "cooling-rose"),
        ({"pressure_cpu_us": 200_001}, "cpu-pressure"),
        ({"pressure_memory_us": 200_001}, "memory-pressure"),
        ({"steal_ms": 201}, "steal"),
        ({"busy_ms": 511_001}, "others"),
        ({"swapped_bytes": 4096}, "swapped"),
        ({"major_faults": 11}, "major-faults"),
    ],
)
def test_each_trouble_makes_a_block_unfit(after: dict[str, int | str | None], code: str) -> None:
    assert codes(fitness.of_block(CALM, replace(LATER, **after))) == [(code, "unfit")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "spoils"),
    [
        ({"frequency_khz": 1_799_999}, True),
        ({"frequency_khz": 1_799_999, "governor": "ondemand"}, False),  # there a clock may fall between two calls
        ({"throttled_bits": 0x2}, True),
        ({"throttled_bits": 0x8}, False),
        ({"throttled_bits": 0xC}, True),
        ({"throttled_bits": None, "undervoltage": True}, True),
        ({"cooling_steps": 3}, True),
        ({"cooling_steps": 2}, False),  # as before the block
        ({"major_faults": 11}, True),
        ({"swapped_bytes": 4096}, True),
        ({"steal_ms": 5_000, "pressure_cpu_us": 5_000_000, "busy_ms": 600_000}, False),
    ],
)
def test_what_spoils_a_block_and_what_is_only_a_remark(after: dict[str, int | str | None], spoils: bool) -> None:
    before = replace(CALM, cooling_steps=2)
    later = replace(LATER, cooling_steps=2)
    found = fitness.spoiling(before, replace(later, **after))  # type: ignore[arg-type]
    assert bool(found) == spoils
    assert fitness.of_block(before, replace(later, **after)), "a remark all the same"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "after",
    [
        {"governor": "userspace", "frequency_floor_khz": 2_000_000},  # fixed by equal limits
        {"frequency_khz": 1_800_000},
        {"pressure_cpu_us": 200_000},
        {"steal_ms": 200},
        {"busy_ms": 511_000},
        {"temperature_millicelsius": 90_000},
        {"involuntary_switches": 500},
    ],
)
def test_below_its_threshold_nothing_is_said(after: dict[str, int | str]) -> None:
    assert fitness.of_block(CALM, replace(LATER, **after)) == []  # type: ignore[arg-type]


def test_what_the_firmware_saw_before_the_block_is_a_note_only() -> None:
    before = replace(CALM, throttled_bits=0x50000)
    assert codes(fitness.of_block(before, replace(LATER, throttled_bits=0x50000))) == [("throttled-since-boot", "note")]
    (found,) = fitness.of_block(before, replace(LATER, throttled_bits=0x50004))
    assert (found.severity, found.what) == ("unfit", "the firmware reports throttled")


def test_under_a_free_governor_a_falling_clock_is_held_against_its_own_start() -> None:
    before = replace(CALM, governor="schedutil", frequency_khz=1_000_000)
    assert codes(fitness.of_block(before, replace(LATER, governor="schedutil", frequency_khz=950_000))) == [
        ("governor", "unfit")
    ]
    assert ("clock-dropped", "unfit") in codes(
        fitness.of_block(before, replace(LATER, governor="schedutil", frequency_khz=800_000))
    )


def test_a_record_says_each_trouble_once_with_how_many_launches_had_it() -> None:
    free = replace(CALM, governor="ondemand")
    told = fitness.of_launches([(CALM, LATER), (free, replace(LATER, governor="ondemand"))] * 2)
    (only,) = told
    assert only.startswith("the governor is ondemand: ")
    assert fitness.PERFORMANCE in only
    assert only.endswith("(in 2 of 4 launches)")


def test_a_launch_that_begins_warmer_than_the_first_is_told() -> None:
    warm = replace(CALM, temperature_millicelsius=53_001)
    (told,) = fitness.of_launches([(CALM, LATER), (warm, LATER)])
    assert told.startswith("a launch began 3 °C warmer than the first")
    assert fitness.of_launches([(CALM, LATER), (replace(CALM, temperature_millicelsius=53_000), LATER)]) == []


def test_notes_are_no_warnings_of_a_record() -> None:
    old = replace(CALM, throttled_bits=0x50000)
    assert fitness.of_launches([(old, replace(LATER, throttled_bits=0x50000))]) == []


def test_a_machine_with_all_it_needs_has_no_finding() -> None:
    assert fitness.of_machine([CLUSTER], FREE, 2, [], None) == []
    assert fitness.of_machine([CLUSTER], Limits(cpu_hundredths=200, memory_bytes=2**20), 2, [], 5000) == []


def test_a_quota_below_the_cpus_makes_unfit() -> None:
    (found,) = fitness.of_machine([CLUSTER], Limits(cpu_hundredths=150, memory_bytes=None), 2, [], None)
    assert (found.code, found.severity) == ("cpu-quota", "unfit")
    assert "1.5 of 2 CPUs" in found.what


def test_busy_processes_are_named_with_the_command_that_pauses_them() -> None:
    others = [Busy(pid=4, name="make", cpu_hundredths=80), Busy(pid=5, name="sh", cpu_hundredths=1)]
    (found,) = fitness.of_machine([CLUSTER], FREE, 2, others, None)
    assert (found.code, found.severity) == ("busy-others", "unfit")
    assert "make (4) 80 %" in found.what
    assert "sh" not in found.what
    assert "kill -STOP 4 (" in found.mend
    assert fitness.of_machine([CLUSTER], FREE, 2, others[1:], None) == []


def test_close_to_the_trip_point_is_too_hot() -> None:
    assert codes(fitness.of_machine([CLUSTER], FREE, 2, [], 4999)) == [("hot", "unfit")]


def test_a_lowered_limit_and_a_hidden_clock_are_notes() -> None:
    capped = replace(CLUSTER, limit_high_khz=1_000_000)
    (found,) = fitness.of_machine([capped], FREE, 2, [], None)
    assert (found.code, found.severity) == ("clock-limited", "note")
    assert found.mend.startswith("echo 1500000 | sudo tee /sys/devices/system/cpu/cpu0/")
    assert codes(fitness.of_machine([replace(CLUSTER, current_khz=None)], FREE, 2, [], None)) == [
        ("clock-hidden", "note")
    ]
