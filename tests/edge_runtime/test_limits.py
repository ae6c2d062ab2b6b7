from pathlib import Path

import pytest

from edge_runtime.limits import Limits, group_parents, limits, oom_kills
from edge_runtime.tree import Tree

BOARDS = Path(__file__).resolve().parents[1] / "data" / "boards"
NONE = Limits(cpu_hundredths=None, memory_bytes=None)


def written(root: Path, **files: str) -> Tree:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return Tree(root)


def grouped(root: Path, group: str, files: dict[str, str]) -> Tree:
    return written(
        root, **{"proc/self/cgroup": group, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}
    )


def test_version_2_as_a_container_sees_itself(tmp_path: Path) -> None:
    files = {"cgroup.controllers": "cpu memory", "cpu.max": "150000 100000", "memory.max": "268435456"}
    assert limits(grouped(tmp_path, "0::/", files)) == Limits(cpu_hundredths=150, memory_bytes=2**28)


def test_the_tightest_group_on_the_way_up_binds(tmp_path: Path) -> None:
    files = {
        "cgroup.controllers": "cpu memory",
        "a/cpu.max": "50000 100000",
        "a/b/cpu.max": "max 100000",
        "a/memory.max": "max",
        "a/b/memory.max": "1000000",
        "a/b/c/memory.max": "5000000",
    }
    assert limits(grouped(tmp_path, "0::/a/b/c", files)) == Limits(cpu_hundredths=50, memory_bytes=1_000_000)


def test_version_1_with_the_hosts_path_that_the_container_does_not_have(tmp_path: Path) -> None:
    group = "4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123"
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "20000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "134217728",
    }
    assert limits(grouped(tmp_path, group, files)) == Limits(cpu_hundredths=20, memory_bytes=2**27)


def test_both_versions_side_by_side(tmp_path: Path) -> None:
    group = "1:cpu:/\n0::/box"
    files = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000", "unified/box/memory.max": "77"}
    assert limits(grouped(tmp_path, group, files)) == Limits(cpu_hundredths=None, memory_bytes=77)


@pytest.mark.parametrize("name", ["x86-64-virtual-machine", "big-little-phone-synthetic", "raspberry-pi-5-synthetic"])
def test_machines_without_limits_have_none_and_never_zero(name: str) -> None:
    tree = Tree(BOARDS / name)
    assert tree.text("proc/self/cgroup")
    assert limits(tree) == NONE


@pytest.mark.parametrize("group", ["", "nonsense", "0::/../../etc", "0::" + "/x" * 50])
def test_odd_groups_do_not_lead_out_of_the_tree(tmp_path: Path, group: str) -> None:
    root = tmp_path / "root"
    (tmp_path / "cpu.max").write_text("1 100000")
    assert limits(grouped(root, group, {"cgroup.controllers": "cpu", "cpu.max": "0 0"})) == NONE


@pytest.mark.parametrize(
    ("group", "file"),
    [("0::/", "memory.events"), ("4:memory:/", "memory/memory.oom_control")],
    ids=["version 2", "version 1"],
)
def test_processes_that_the_kernel_ended_are_counted(tmp_path: Path, group: str, file: str) -> None:
    files = {"cgroup.controllers": "memory", file: "low 0\noom 4\noom_kill 3\noom_group_kill 0"}
    tree = grouped(tmp_path, group, files)
    assert oom_kills(tree) == 3
    assert oom_kills(Tree(tmp_path / "nowhere")) == 0


@pytest.mark.parametrize(
    ("group", "found"),
    [
        ("0::/a/b/c", ("sys/fs/cgroup/a/b",)),
        ("0::/a", ("sys/fs/cgroup",)),
        ("0::/", ("sys/fs/cgroup",)),
        ("0::/a/b", ("sys/fs/cgroup/a/b",)),
        ("4:memory:/a/b/c", ()),
        ("0::/../../etc", ("sys/fs/cgroup",)),
    ],
)
def test_a_group_is_made_where_memory_is_counted_below_and_nowhere_else(
    tmp_path: Path, group: str, found: tuple[str, ...]
) -> None:
    files = {
        "cgroup.controllers": "cpu memory",
        "cgroup.subtree_control": "cpu memory",
        "a/cgroup.subtree_control": "cpu",
        "a/b/cgroup.subtree_control": "memory pids",
        "a/b/c/cgroup.subtree_control": "",
    }
    assert group_parents(grouped(tmp_path, group, files)) == found
    assert group_parents(grouped(tmp_path / "version 1", group, {})) == ()
