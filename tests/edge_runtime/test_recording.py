from pathlib import Path

import pytest

from edge_runtime import recording
from edge_runtime.environment import conditions, machine
from edge_runtime.errors import OutputExists, Unwritable
from edge_runtime.limits import limits
from edge_runtime.processes import processes
from edge_runtime.processors import clusters
from edge_runtime.tree import Tree

BOARDS = Path(__file__).resolve().parents[1] / "data" / "boards"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in BOARDS.glob("*/proc")))
def test_a_recorded_machine_reads_like_the_machine(name: str, tmp_path: Path) -> None:
    tree = Tree(BOARDS / name, remember=True)

    def told(tree: Tree) -> tuple[object, ...]:
        return machine(tree), conditions(range(8), tree), clusters(tree), limits(tree)

    expected = told(tree)
    count = recording.save(tree, tmp_path / "copy", hostname="")
    assert told(Tree(tmp_path / "copy")) == expected
    assert count == len([path for path in (tmp_path / "copy").rglob("*") if path.is_file()])


def test_nothing_names_the_machine_or_its_owner(tmp_path: Path) -> None:
    identifier = "0123456789abcdef" * 4
    secrets = {
        "proc/cpuinfo": "processor : 0\nSerial\t\t: 10000000deadbeef\nModel : Raspberry Pi 5",
        "proc/self/cgroup": f"0::/kitchen-pi.slice/docker-{identifier}.scope",
        f"sys/fs/cgroup/kitchen-pi.slice/docker-{identifier}.scope/cpu.max": "100000 100000",
        "sys/fs/cgroup/cgroup.controllers": "cpu",
        "proc/77/stat": "77 (secret-job) S " + "1 " * 30,
        "etc/os-release": "link=dc:a6:32:01:02:03\nboot=3f2504e0-4f89-41d3-9a0c-0305e82c3301\nHOST=kitchen-pi",
    }
    for name, text in secrets.items():
        (tmp_path / "real" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "real" / name).write_text(text + "\n")
    tree = Tree(tmp_path / "real", remember=True)
    assert limits(tree).cpu_hundredths == 100
    clusters(tree)
    processes(tree)
    assert tree.text("proc/cpuinfo")
    assert tree.text("etc/os-release")
    recording.save(tree, tmp_path / "copy", hostname="kitchen-pi")
    written = {str(path.relative_to(tmp_path / "copy")): path for path in (tmp_path / "copy").rglob("*")}
    everything = "\n".join([*written, *(path.read_text() for path in written.values() if path.is_file())])
    for secret in ("deadbeef", identifier, "kitchen", "secret-job", "dc:a6", "3f2504e0", "proc/77"):
        assert secret not in everything
    assert "Raspberry Pi 5" in everything
    assert limits(Tree(tmp_path / "copy")).cpu_hundredths == 100  # the renamed group is still found


def test_long_counters_are_no_identifiers(tmp_path: Path) -> None:
    (tmp_path / "real/proc/pressure").mkdir(parents=True)
    (tmp_path / "real/proc/pressure/cpu").write_text("some avg10=0.00 total=123456789012345\n")
    tree = Tree(tmp_path / "real", remember=True)
    conditions((0,), tree)
    recording.save(tree, tmp_path / "copy", hostname="pi")
    assert conditions((0,), Tree(tmp_path / "copy")).pressure_cpu_us == 123_456_789_012_345


def test_a_filled_folder_is_refused_and_an_empty_one_taken(tmp_path: Path) -> None:
    tree = Tree(tmp_path, remember=True)
    (tmp_path / "empty").mkdir()
    assert recording.save(tree, tmp_path / "empty", hostname="") == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("full", "file", "dangling"):
        with pytest.raises(OutputExists):
            recording.save(tree, tmp_path / name, hostname="")


def test_a_place_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "file").write_text("")
    tree = Tree(tmp_path, remember=True)
    tree.text("a")
    with pytest.raises(Unwritable):
        recording.save(tree, tmp_path / "file" / "below", hostname="")
