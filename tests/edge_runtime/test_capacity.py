"""What can't fit is refused before it is read; the estimate is held against what loading really takes."""

import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import capacity
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import UnsupportedSystem
from edge_runtime.manifest import Port
from edge_runtime.model import load
from edge_runtime.tree import Tree
from tests import fakes
from tests.conftest import Maker

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20

MEASURE = """
import sys, numpy, edge_runtime
from edge_runtime import sensors, session
before = sensors.memory().resident
sensors.reset_peak()
with edge_runtime.load(sys.argv[1], threads=1, cache=sys.argv[2] == "cache") as model:
    model(x=numpy.ones((1, 512), "f4"))
    peak = sensors.memory().peak
print(peak - before)
"""


@pytest.fixture(scope="module")
def weighty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write_artifact(tmp_path_factory.mktemp("weighty") / "x.edge", fakes.weighty(24))


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write_artifact(tmp_path_factory.mktemp("heavy") / "x.edge", fakes.weighty(100))


def really(path: Path, cache: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), cache], cwd=ROOT, capture_output=True, timeout=60, check=True
    )
    return int(done.stdout)


def test_the_estimate_is_above_what_loading_takes_and_not_far_above(weighty: Path) -> None:
    artifact = open_artifact(weighty)
    variant = artifact.variant()
    optimised, mapped = (capacity.need_bytes(artifact, variant, cached=cached) for cached in (False, True))
    assert optimised / 3 < really(weighty, "plain") < optimised
    assert really(weighty, "cache") < optimised  # the first fills the cache
    assert mapped / 3 < really(weighty, "cache") < mapped


def test_a_model_above_the_limit_is_refused_with_both_figures_before_it_is_read(make_artifact: Maker) -> None:
    path = make_artifact()
    (path / "fp32" / "model.onnx").unlink()  # who reads it will say so
    with pytest.raises(UnsupportedSystem, match=r"takes about 12\.0 MiB, memory_limit is 1\.00 MiB") as refused:
        load(path, memory_limit=MIB, cache=False)
    assert refused.value.exit_code == 5
    assert refused.value.where == f"{path} (fp32)"
    assert "edge cache warm" in refused.value.hint


def test_a_model_that_fits_once_it_is_cached_is_loaded_then(
    weighty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    with pytest.raises(UnsupportedSystem, match="the model takes about"):
        load(weighty, memory_limit=60 * MIB)
    load(weighty).close()
    with load(weighty, threads=1, memory_limit=60 * MIB) as model:
        assert model(x=np.ones((1, 512), "f4"))["y"].shape == (1, 512)
    with pytest.raises(UnsupportedSystem, match="the model takes about"):
        load(weighty, memory_limit=60 * MIB, cache=False)


def test_inputs_and_outputs_count_with_the_largest_size_that_was_tested(make_artifact: Maker) -> None:
    names = count()

    def needed(**changes: object) -> int:
        artifact = open_artifact(make_artifact(folder=f"{next(names)}.edge", **changes))
        return capacity.need_bytes(artifact, artifact.variant(), cached=True)

    port = Port(name="input", dtype="float32", shape=("batch", 13), tested=(("batch", (1, 1001, 7)),))
    assert needed(inputs=(port,)) - needed() == 1000 * (13 + 1) * 4

    # the manifest's figure is of a whole process: activations are what it has beyond the rest
    rest = capacity.process_peak_bytes(100, 0)
    assert 99 * MIB < needed(peak_bytes=rest + 100 * MIB) - needed() <= 100 * MIB
    assert needed(peak_bytes=rest) == needed()


@pytest.mark.parametrize(
    "files",
    [
        {
            "proc/self/cgroup": "0::/app\n",
            "sys/fs/cgroup/cgroup.controllers": "memory",
            "sys/fs/cgroup/app/memory.max": "600",
        },
        {"proc/self/cgroup": "4:memory:/app\n", "sys/fs/cgroup/memory/app/memory.limit_in_bytes": "600"},
    ],
    ids=["version 2", "version 1"],
)
def test_weights_larger_than_the_control_group_are_refused(
    tiny_edge: Path, weighty: Path, tmp_path: Path, files: dict[str, str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    artifact = open_artifact(weighty)
    with pytest.raises(UnsupportedSystem, match=r"the weights alone take 24\.0 MiB, this control group may have 600 B"):
        capacity.refuse_too_large(artifact, artifact.variant(), cache=True, limit_bytes=None, tree=Tree(tmp_path))
    tiny = open_artifact(tiny_edge)
    assert tiny.size_bytes(tiny.variant()) < 600
    capacity.refuse_too_large(tiny, tiny.variant(), cache=True, limit_bytes=None, tree=Tree(tmp_path))


@pytest.mark.parametrize(
    ("verb", "mebibytes"),
    [*(("run", size) for size in (40, 141, 180, 193, 240)), ("check", 150), ("measure", 195), ("profile", 195)],
)
def test_whatever_is_too_little_address_space_ends_with_our_message_and_exit_5(
    heavy: Path, verb: str, mebibytes: int
) -> None:
    # from imports that find no room, over threads that can't start, to weights that don't fit
    case = ("--input", str(heavy / "golden" / "case0.npz")) if verb == "run" else ()
    done = subprocess.run(
        [
            "sh",
            "-c",
            f'ulimit -v {mebibytes * 1024}; exec "$@"',
            "sh",
            sys.executable,
            *("-m", "edge_runtime", verb, str(heavy), *case, *(() if verb == "check" else ("--threads", "2"))),
        ],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "EDGE_CACHE_BYTES": "0", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("edge: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
