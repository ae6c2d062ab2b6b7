import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import sensors
from edge_runtime.sensors import Memory

RECORDED = Path(__file__).resolve().parents[1] / "data" / "boards" / "x86-64-virtual-machine" / "proc" / "self"
MIB = 2**20


def test_a_recorded_process_is_read_in_bytes() -> None:
    status = (RECORDED / "status").read_text()
    rollup = (RECORDED / "smaps_rollup").read_text()

    def kib(text: str, name: str) -> int:
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + ":"))

    assert sensors.memory(RECORDED) == Memory(
        resident=kib(status, "VmRSS") * 1024,
        proportional=kib(rollup, "Pss") * 1024,
        private=(kib(rollup, "Private_Clean") + kib(rollup, "Private_Dirty")) * 1024,
        peak=kib(status, "VmHWM") * 1024,
    )


def test_what_the_kernel_hides_is_none(tmp_path: Path) -> None:
    assert sensors.memory(tmp_path) == Memory(resident=None, proportional=None, private=None, peak=None)
    (tmp_path / "smaps_rollup").write_text("Pss: 3 kB\nPrivate_Clean: 1 kB\n")
    assert sensors.memory(tmp_path) == Memory(resident=None, proportional=3072, private=None, peak=None)


def test_memory_taken_and_given_back_shows_in_the_peak_alone_and_a_reset_forgets_it() -> None:
    before = sensors.memory()
    taken = bytearray(os.urandom(1)) * (64 * MIB)
    del taken
    after = sensors.memory()
    assert before.resident is not None
    assert after.peak is not None
    assert after.peak >= before.resident + 60 * MIB
    if sensors.reset_peak():
        again = sensors.memory()
        assert again.peak is not None
        assert again.peak <= after.peak - 30 * MIB


def test_a_peak_that_cannot_be_reset_is_told(tmp_path: Path) -> None:
    assert not sensors.reset_peak(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "clear_refs").write_text("")
    assert sensors.reset_peak(tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"


@given(content=st.binary(max_size=60))
def test_whatever_a_status_file_holds_it_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "odd-process"
    root.mkdir(exist_ok=True)
    for name in ("status", "smaps_rollup"):
        (root / name).write_bytes(b"VmRSS:\t7 kB\n" + content)
    assert sensors.memory(root).resident is not None
