from pathlib import Path

import pytest

from edge_runtime import throttling
from edge_runtime.tree import Tree

BOARDS = Path(__file__).resolve().parents[1] / "data" / "boards"
PI4, PI5 = Tree(BOARDS / "raspberry-pi-4-synthetic"), Tree(BOARDS / "raspberry-pi-5-synthetic")
JETSON = Tree(BOARDS / "jetson-orin-nano-synthetic")


def written(root: Path, **files: str) -> Tree:
    for number, (name, text) in enumerate(files.items()):
        folder = root / f"sys/class/thermal/cooling_device{number}"
        folder.mkdir(parents=True)
        (folder / "type").write_text(name.replace("_", "-") + "\n")
        (folder / "cur_state").write_text(text + "\n")
    return Tree(root)


def test_firmware_bits_are_hexadecimal_without_a_prefix_in_sysfs() -> None:
    assert throttling.firmware_bits(PI4) == 0x50000
    assert throttling.firmware_bits(PI5) == 0
    assert throttling.firmware_bits(JETSON) is None


def test_without_the_file_the_command_is_asked(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands/vcgencmd-get_throttled").write_text("throttled=0x50005\n")
    bits = throttling.firmware_bits(Tree(tmp_path))
    assert bits == 0x50005
    assert throttling.now(bits) == throttling.since_boot(bits) == ("under-voltage", "throttled")


@pytest.mark.parametrize("answer", ["error=1 error_msg=unregistered", "throttled=", "VCHI initialization failed"])
def test_a_refusal_of_the_command_is_no_state(tmp_path: Path, answer: str) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands/vcgencmd-get_throttled").write_text(answer)
    assert throttling.firmware_bits(Tree(tmp_path)) is None


def test_every_bit_has_its_place() -> None:
    assert throttling.now(0b1111) == ("under-voltage", "clock capped", "throttled", "soft temperature limit")
    assert throttling.now(0b1010 << 16) == ()
    assert throttling.since_boot(0b1010 << 16) == ("clock capped", "soft temperature limit")


def test_a_fan_and_a_gpu_slow_no_processor() -> None:
    assert throttling.cooling_steps(PI5) is None  # its fan runs
    assert throttling.cooling_steps(JETSON) == 4  # two clusters by two steps; fan and GPU left out


@pytest.mark.parametrize("name", ["thermal_cpufreq_0", "cpufreq_cpu4", "idle_cpu0", "Processor"])
def test_all_names_of_devices_that_slow_a_processor(tmp_path: Path, name: str) -> None:
    assert throttling.cooling_steps(written(tmp_path, **{name: "3"})) == 3


def test_a_cooling_device_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    assert throttling.cooling_steps(written(tmp_path, cpufreq_cpu0="broken")) is None


def test_the_supplys_alarm() -> None:
    assert throttling.undervoltage(PI4) is True
    assert throttling.undervoltage(PI5) is False
    assert throttling.undervoltage(JETSON) is None


def test_headroom_is_the_nearest_passive_trip_point() -> None:
    assert throttling.headroom_millicelsius(JETSON) == 99_000 - 98_125
    assert throttling.headroom_millicelsius(PI5) is None  # active and critical ones only
    assert throttling.hottest_millicelsius(JETSON) == 98_125
