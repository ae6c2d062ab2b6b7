import json
import sys
from pathlib import Path

import pytest

from edge_runtime import decode
from edge_runtime.diagnosis import Diagnosis, diagnose, examine_software
from edge_runtime.tree import Tree

BOARDS = Path(__file__).resolve().parents[1] / "data" / "boards"


def of(name: str) -> Diagnosis:
    return diagnose(Tree(BOARDS / f"{name}-synthetic"))


def codes(found: Diagnosis) -> list[str]:
    return [one.code for one in found.findings]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raspberry-pi-5", []),
        ("raspberry-pi-4", ["governor", "throttled-since-boot"]),
        ("jetson-orin-nano", ["hot", "governor", "cooling", "clock-limited", "clock-limited"]),
        ("big-little-phone", ["governor", "clock-limited"]),
    ],
)
def test_boards_are_judged_by_their_files_gravest_first(name: str, expected: list[str]) -> None:
    found = of(name)
    assert codes(found) == expected
    assert found.worst == ("unfit" if "governor" in expected else "note")


def test_of_another_machine_nothing_is_said_about_this_ones_software() -> None:
    assert of("raspberry-pi-5").software is None


def test_the_document_describes_the_machine_fully_and_is_json() -> None:
    document = json.loads(decode.as_json(of("jetson-orin-nano").to_document()))
    assert (document["kind"], document["schema"], document["verdict"]) == ("edge-doctor", 1, "unfit")
    assert document["machine"]["cores"] == 6
    assert [cluster["core"] for cluster in document["clusters"]] == ["Cortex-A78AE", "Cortex-A78AE"]
    assert "asimddp" in document["flags"]
    assert document["os"] == "Ubuntu 22.04.4 LTS"
    assert (document["energy_rail"], document["energy_missing"]) == ("ina3221, VDD_IN", None)
    assert document["throttled"] is None
    assert document["findings"][0].keys() == {"code", "severity", "what", "why", "mend"}
    document = json.loads(decode.as_json(of("raspberry-pi-4").to_document()))
    assert document["throttled"] == {"now": [], "since_boot": ["under-voltage", "throttled"]}


def test_an_empty_folder_is_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = diagnose(Tree(tmp_path))
    assert codes(found) == ["clock-hidden"]
    assert (found.clusters, found.os, found.available_bytes) == ((), None, None)


@pytest.mark.parametrize(("kib", "severity"), [(50_000, "blocked"), (200_000, "note")])
def test_little_free_memory_is_told(tmp_path: Path, kib: int, severity: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemAvailable: {kib} kB\n")
    found = diagnose(Tree(tmp_path))
    assert [(one.code, one.severity) for one in found.findings if one.code == "memory"] == [("memory", severity)]


def test_a_quota_is_held_against_the_cpus(tmp_path: Path) -> None:
    for name, text in (
        ("proc/self/cgroup", "0::/"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu"),
        ("sys/fs/cgroup/cpu.max", "150000 100000"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    for cpu in range(2):
        (tmp_path / f"sys/devices/system/cpu/cpu{cpu}").mkdir(parents=True)
    found = diagnose(Tree(tmp_path))
    assert "cpu-quota" in codes(found)
    assert found.limits.cpu_hundredths == 150


def test_this_machine_is_looked_at_over_a_pause_and_can_run(tmp_path: Path) -> None:
    found = diagnose(pause_s=0.05, cache=tmp_path / "cache")
    software = found.software
    assert software is not None
    assert software.failure == ""
    assert software.numpy
    assert software.onnxruntime
    assert "import" not in codes(found)
    assert found.worst != "blocked"
    assert found.machine.ram_bytes


def test_a_cache_that_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    proc = Path("/proc/self/fdinfo")  # nobody may write there, not even root
    found = diagnose(pause_s=0, cache=proc / "edge", python=[sys.executable, "-P"])
    (note,) = [one for one in found.findings if one.code == "cache"]
    assert note.severity == "note"


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL"),
        ("raise ImportError('GLIBC_2.38 not found')", "GLIBC_2.38 not found"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_a_failing_import_is_survived_and_told(tmp_path: Path, body: str, failure: str) -> None:
    (tmp_path / "sitecustomize.py").write_text("")
    (tmp_path / "broken.py").write_text(body)
    software = examine_software([sys.executable, "-c", f"exec(open({str(tmp_path / 'broken.py')!r}).read())"])
    assert failure in software.failure
    assert software.numpy is None


def test_an_interpreter_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = diagnose(pause_s=0, cache=tmp_path, python=[str(tmp_path / "no-python")])
    assert found.worst == "blocked"
    assert found.findings[0].code == "import"
    assert "did not start" in found.findings[0].what
