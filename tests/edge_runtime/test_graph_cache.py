"""The cache of optimised graphs: the same answers sooner, and never a reason to fail."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from edge_runtime import graph_cache, session
from edge_runtime.artifact import open_artifact
from edge_runtime.errors import InvalidModel, ManifestError, UsageError
from edge_runtime.manifest import Port
from edge_runtime.model import load
from tests import fakes
from tests.conftest import Maker

ROOT = Path(__file__).resolve().parents[2]
X = np.random.default_rng(1).normal(size=(5, 13)).astype("f4")
Warnings = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own; returns the folder of its graphs."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Warnings:
    caplog.set_level(logging.INFO, "edge_runtime")

    def told() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return found

    return told


def answer(path: Path) -> list[list[float]]:
    with load(path, threads=1) as model:
        return model(input=X)["output"].tolist()  # type: ignore[no-any-return]


def uncached(path: Path) -> list[list[float]]:
    with load(path, threads=1, cache=False) as model:
        return model(input=X)["output"].tolist()  # type: ignore[no-any-return]


def only_entry(cache: Path) -> Path:
    (entry,) = cache.glob("*.onnx")
    return entry


def wide() -> fakes.Sample:
    """float32[1, 1, 8, 8] → convolved with 2304 bytes of weights: enough for a file of their own."""
    weights = np.random.default_rng(2).normal(size=(64, 1, 3, 3)).astype("f4")
    return fakes._sample(
        [fakes._op("Conv", ["image", "w"], "maps")],
        {"image": (TensorProto.FLOAT, [1, 1, 8, 8])},
        {"maps": (TensorProto.FLOAT, [1, 64, 6, 6])},
        [{"image": np.random.default_rng(3).normal(size=(1, 1, 8, 8)).astype("f4")}],
        {"w": weights},
    )


@pytest.mark.parametrize(
    "sample",
    [fakes.tiny, fakes.pair, fakes.typed, fakes.found, fakes.scalar, fakes.echo, wide],
    ids=lambda made: made.__name__,
)
def test_the_cached_graph_answers_to_the_bit_as_the_model_itself(
    make_artifact: Maker, sample: Callable[[], fakes.Sample], cache: Path, warnings: Warnings
) -> None:
    path = make_artifact(sample())
    artifact = open_artifact(path)
    cases = list(artifact.golden(artifact.variant()))
    with load(path, threads=1, cache=False) as plain:
        assert not cache.exists()
        wanted = [plain(**case.inputs) for case in cases]
    for _ in range(2):
        with load(path, threads=1) as model:
            for case, expected in zip(cases, wanted, strict=True):
                answers = model(**case.inputs)
                assert {name: array.tobytes() for name, array in answers.items()} == {
                    name: array.tobytes() for name, array in expected.items()
                }
    assert only_entry(cache).is_file()
    assert warnings() == []


def test_every_load_maps_the_weights_from_disk(make_artifact: Maker, cache: Path) -> None:
    path = make_artifact(wide())
    for _ in range(2):
        with load(path, threads=1):
            assert str(only_entry(cache).with_suffix(".weights")) in Path("/proc/self/maps").read_text()
    with load(path, threads=1, cache=False):
        assert str(cache) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("how", ["one bit", "half", "gone", "folder", "random"])
def test_damaged_weights_are_made_anew_with_one_warning(
    make_artifact: Maker, cache: Path, warnings: Warnings, how: str
) -> None:
    path = make_artifact(wide())
    load(path, threads=1).close()
    weights = only_entry(cache).with_suffix(".weights")
    honest = weights.read_bytes()
    if how in DAMAGES:
        DAMAGES[how](weights)
    else:
        weights.unlink()
    if how == "folder":
        weights.mkdir()
    load(path, threads=1).close()
    (told,) = warnings()
    assert told.startswith("a cached graph is damaged and is made anew")
    assert weights.read_bytes() == honest
    load(path, threads=1).close()
    assert warnings() == []


def test_a_second_load_does_not_write(tiny_edge: Path, cache: Path) -> None:
    answer(tiny_edge)
    before = only_entry(cache).stat()
    answer(tiny_edge)
    after = only_entry(cache).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_the_key_changes_with_whatever_decides_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(model: str = "a", engine: str = "1.32", options: dict[str, str] | None = None, cpu: str = "one") -> str:
        monkeypatch.setattr(graph_cache, "_cpu_identity", lambda: cpu)  # the machine, which no test can change
        return graph_cache.key(model, engine=engine, options=options or {"level": "all"})

    keys = [key(), key(model="b"), key(engine="1.33"), key(options={"level": "basic"}), key(cpu="two")]
    assert len(set(keys)) == 5
    assert key() == keys[0]


def test_the_identity_of_a_cpu_is_its_model_and_features_and_not_its_clock(tmp_path: Path) -> None:
    def identity(text: str) -> str:
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc/cpuinfo").write_text(text)
        return graph_cache._cpu_identity(tmp_path)

    x86 = "processor : 0\nmodel name : Xeon\nflags : sse avx2\ncpu MHz : 1000\n\nprocessor : 1\nflags : other\n"
    assert identity(x86) == identity(x86.replace("1000", "3000"))
    assert identity(x86) != identity(x86.replace("avx2", "avx512f"))
    arm = "processor : 0\nFeatures : fp asimd\nCPU implementer : 0x41\nCPU part : 0xd08\n"
    assert identity(arm) != identity(arm.replace("asimd", "asimd asimddp"))
    assert identity(arm) != identity(arm.replace("0xd08", "0xd0b"))


def with_note(entry: Path, **changes: object) -> None:
    note = entry.with_suffix(".json")
    note.write_text(json.dumps({**json.loads(note.read_text()), **changes}))


def flip(entry: Path) -> None:
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit": flip,
    "half": lambda entry: entry.write_bytes(entry.read_bytes()[:500]),
    "random": lambda entry: entry.write_bytes(np.random.default_rng(0).bytes(entry.stat().st_size)),
    "empty": lambda entry: entry.write_bytes(b""),
    "longer": lambda entry: entry.write_bytes(entry.read_bytes() + b"\0"),
    "note of another": lambda entry: with_note(entry, key="0" * 64),
    "note newer": lambda entry: with_note(entry, schema=99),
    "note lies": lambda entry: with_note(entry, parts={"onnx": {"sha256": "0" * 64, "bytes": entry.stat().st_size}}),
    "note of no graph": lambda entry: with_note(entry, parts={}),
    "note of more": lambda entry: with_note(entry, parts={"../../x": {"sha256": "0" * 64, "bytes": 1}}),
    "note empty": lambda entry: entry.with_suffix(".json").write_text(""),
}
if os.geteuid() == 0:  # only root gives files away
    DAMAGES["another's"] = lambda entry: os.chown(entry.with_suffix(".json"), 12345, 12345)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_entry_is_made_anew_with_one_warning(
    tiny_edge: Path, cache: Path, warnings: Warnings, how: str
) -> None:
    wanted = answer(tiny_edge)
    honest = only_entry(cache).read_bytes()
    DAMAGES[how](only_entry(cache))
    assert answer(tiny_edge) == wanted
    (told,) = warnings()
    # so it was the hash (or the note) that noticed: onnxruntime, which may crash on such bytes, never saw them
    assert told.startswith("a cached graph is damaged and is made anew")
    assert str(cache) in told
    assert only_entry(cache).read_bytes() == honest
    assert answer(tiny_edge) == wanted
    assert warnings() == []


def test_no_prefix_of_an_entry_reaches_onnxruntime(tiny_edge: Path, cache: Path) -> None:
    answer(tiny_edge)
    entry, note = only_entry(cache), only_entry(cache).with_suffix(".json")
    content, text = entry.read_bytes(), note.read_text()
    lengths = sorted({*range(0, len(content), max(1, len(content) // 40)), 1, 4, 8, len(content) - 1})
    assert len(lengths) > 20
    for length in lengths:
        told: list[str] = []
        entry.write_bytes(content[:length])
        note.write_text(text)
        assert graph_cache.find(entry.stem, warn=told.append) is None, length
        assert len(told) == 1


@given(noise=st.binary(max_size=400))
def test_no_noise_in_a_note_is_believed_or_crashes(noise: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.getbasetemp() / "noise"
        patch.setenv("EDGE_CACHE", str(folder))
        (folder / "graphs").mkdir(parents=True, exist_ok=True)
        entry = folder / "graphs" / f"{'a' * 64}.onnx"
        entry.write_bytes(b"graph")
        entry.with_suffix(".json").write_bytes(noise)
        told: list[str] = []
        assert graph_cache.find("a" * 64, warn=told.append) is None
        assert len(told) == 1
        assert not entry.exists()


def test_a_graph_without_its_note_is_no_entry(tiny_edge: Path, cache: Path, warnings: Warnings) -> None:
    wanted = answer(tiny_edge)
    only_entry(cache).with_suffix(".json").unlink()
    assert graph_cache.entries() == ()
    assert answer(tiny_edge) == wanted
    assert len(graph_cache.entries()) == 1
    assert warnings() == []


def test_the_valid_graph_of_another_model_is_noticed_though_its_note_vouches_for_it(
    tiny_edge: Path, make_artifact: Maker, cache: Path, warnings: Warnings
) -> None:
    wanted = answer(tiny_edge)
    own = only_entry(cache)
    with load(make_artifact(fakes.pair()), threads=1):
        pass
    (other,) = set(cache.glob("*.onnx")) - {own}
    shutil.copyfile(other, own)
    note = json.loads(other.with_suffix(".json").read_text())
    own.with_suffix(".json").write_text(json.dumps({**note, "key": own.stem}))
    assert answer(tiny_edge) == wanted
    (told,) = warnings()
    assert told.startswith("a cached graph is of another model and is made anew")
    assert answer(tiny_edge) == wanted
    assert warnings() == []


@pytest.mark.parametrize("what", ["folder", "folder for the note", "dangling link", "fifo"])
def test_something_else_in_the_place_of_an_entry_is_replaced(
    tiny_edge: Path, cache: Path, warnings: Warnings, what: str
) -> None:
    wanted = answer(tiny_edge)
    entry = only_entry(cache)
    place = entry.with_suffix(".json") if what == "folder for the note" else entry
    place.unlink()
    if what == "dangling link":
        place.symlink_to(cache / "nowhere")
    elif what == "fifo":
        os.mkfifo(place)
    else:
        (place / "more").mkdir(parents=True)
    assert answer(tiny_edge) == wanted
    assert (entry.is_file(), entry.is_symlink(), entry.with_suffix(".json").is_file()) == (True, False, True)
    assert answer(tiny_edge) == wanted
    assert warnings() == []


def test_a_link_to_other_content_is_a_damaged_entry(tiny_edge: Path, cache: Path, tmp_path: Path) -> None:
    wanted = answer(tiny_edge)
    entry = only_entry(cache)
    secret = tmp_path / "elsewhere"
    secret.write_bytes(entry.read_bytes()[::-1])
    entry.unlink()
    entry.symlink_to(secret)
    assert answer(tiny_edge) == wanted
    assert not entry.is_symlink()
    assert secret.is_file()


def in_a_process(code: str, *, user: int | None = None, limit_file_bytes: int | None = None) -> str:
    """Run code in a fresh interpreter, perhaps as another user or with a bound on what it can write."""

    lines = [
        "import encodings.ascii, logging, os, resource",
        "import edge_runtime.model",
        "logging.basicConfig(format='%(message)s')",
    ]
    if limit_file_bytes is not None:
        lines.append(f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_file_bytes}, {limit_file_bytes}))")
    if user is not None:
        lines.append(f"os.setuid({user})")  # after the imports: the interpreter's own folder may be closed to them
    done = subprocess.run(
        [sys.executable, "-B", "-c", "\n".join([*lines, code])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


CALL = """
import edge_runtime, numpy
with edge_runtime.load({path!r}, threads=1) as model:
    assert model(input=numpy.array({x!r}, 'f4'))['output'].tolist() == {wanted!r}
"""


def calling(path: Path) -> str:
    return CALL.format(path=str(path), x=X.tolist(), wanted=uncached(path))


def test_a_full_disk_means_one_warning_and_right_answers(tiny_edge: Path, cache: Path) -> None:
    told = in_a_process(calling(tiny_edge), limit_file_bytes=300)  # a bound the graph passes and no note does
    assert told.count("the optimised graph can't be cached") == 1
    assert told.count("\n") == 1
    assert list(cache.iterdir()) == []  # neither an entry nor half of one


def test_a_folder_that_cannot_be_made_means_one_warning_and_right_answers(
    tiny_edge: Path, tmp_path: Path, warnings: Warnings
) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert answer(tiny_edge) == uncached(tiny_edge)
    (told,) = warnings()
    assert told.startswith("the optimised graph can't be cached, so each start optimises anew: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_read_only_cache_and_an_unreadable_entry_mean_one_warning_and_right_answers(
    tmp_path: Path, cache: Path
) -> None:
    # below /tmp, for pytest's own folders are closed to other users
    open_place = Path(f"/tmp/edge-test-{os.getpid()}")
    shutil.rmtree(open_place, ignore_errors=True)
    open_place.mkdir()
    try:
        path = fakes.write_artifact(open_place / "tiny.edge", fakes.tiny())
        os.environ["EDGE_CACHE"] = str(open_place / "cache")  # the fixture puts it back
        answer(path)
        (entry,) = (open_place / "cache" / "graphs").glob("*.onnx")
        for folder in (open_place / "cache", open_place / "cache" / "graphs"):
            folder.chmod(0o755)
        entry.chmod(0o000)
        told = in_a_process(calling(path), user=65534)
        assert told.count("is damaged and is made anew: permission denied") == 1
        assert told.count("can't be cached, so each start optimises anew: permission denied") == 1
        entry.chmod(0o644)
        assert in_a_process(calling(path), user=65534) == ""
        (open_place / "cache").chmod(0o700)  # closed altogether, as another user's home is
        told = in_a_process(calling(path), user=65534)
        assert told.count("\n") == told.count("can't be cached, so each start optimises anew: permission denied") == 1
    finally:
        shutil.rmtree(open_place)


def test_several_processes_fill_one_entry_at_once(tiny_edge: Path, cache: Path) -> None:
    # each imports, says so, and waits for the word to go
    code = f"import sys, edge_runtime.model\nprint(flush=True)\nsys.stdin.read()\n{calling(tiny_edge)}"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdin is not None
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None
    assert [(worker.wait(60), worker.communicate()[1]) for worker in workers] == [(0, b"")] * 4
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".onnx"]
    assert len(graph_cache.entries()) == 1


def test_the_cache_stays_within_its_bound_and_the_least_recently_used_leave(
    make_artifact: Maker, cache: Path, monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    first, second, third = (
        make_artifact(made(), folder=f"{made.__name__}.edge") for made in (fakes.pair, fakes.echo, fakes.scalar)
    )
    load(first, threads=1).close()
    first_entry = only_entry(cache)
    load(second, threads=1).close()
    (second_entry,) = set(cache.glob("*.onnx")) - {first_entry}
    os.utime(first_entry.with_suffix(".json"), (1000, 1000))
    os.utime(second_entry.with_suffix(".json"), (2000, 2000))
    load(first, threads=1).close()  # used again: now the second is the older one
    sizes = first_entry.stat().st_size + second_entry.stat().st_size
    monkeypatch.setenv("EDGE_CACHE_BYTES", str(sizes + 50))
    load(third, threads=1).close()
    assert first_entry.exists()
    assert not second_entry.exists()
    assert not second_entry.with_suffix(".json").exists()
    assert [entry.model for entry in graph_cache.entries()] == [f"{third} (fp32)", f"{first} (fp32)"]
    assert warnings() == []


def test_a_graph_larger_than_the_cache_is_not_kept(
    tiny_edge: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    monkeypatch.setenv("EDGE_CACHE_BYTES", "100")
    assert answer(tiny_edge) == uncached(tiny_edge)
    (told,) = warnings()
    assert "the cache may have 100" in told
    assert list(cache.iterdir()) == []


def test_a_bound_of_zero_turns_the_cache_off_without_a_word(
    tiny_edge: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    monkeypatch.setenv("EDGE_CACHE_BYTES", "0")
    assert answer(tiny_edge) == uncached(tiny_edge)
    assert not cache.exists()
    assert warnings() == []


@pytest.mark.parametrize("text", ["1G", "-1", " 5", "1e9", "²", "9" * 40])
def test_a_bound_that_is_no_count_of_bytes_warns_and_keeps_no_model_from_running(
    tiny_edge: Path, monkeypatch: pytest.MonkeyPatch, warnings: Warnings, text: str
) -> None:
    monkeypatch.setenv("EDGE_CACHE_BYTES", text)
    with pytest.raises(UsageError, match="EDGE_CACHE_BYTES"):
        graph_cache.limit_bytes()
    answer(tiny_edge)
    assert [warning.startswith("EDGE_CACHE_BYTES=") for warning in warnings()] == [True]
    assert len(graph_cache.entries()) == 1
    load(tiny_edge, cache=False).close()
    assert warnings() == []


def test_the_folder_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert graph_cache.folder() == tmp_path / "cache" / "graphs"
    monkeypatch.delenv("EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert graph_cache.folder() == Path("/x/edge/graphs")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert graph_cache.folder() == Path("/home/somebody/.cache/edge/graphs")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become a user without an entry in /etc/passwd")
def test_a_user_without_a_home_runs_without_a_cache(tiny_edge: Path) -> None:
    code = "import os; [os.environ.pop(name, None) for name in ('HOME', 'EDGE_CACHE', 'XDG_CACHE_HOME')]\n"
    code += "from edge_runtime import graph_cache as g; told = []\n"
    code += "assert g.fill('a' * 64, model='m', make=lambda path: None, warn=told.append) is None\n"
    code += "assert g.entries() == () and len(told) == 1, told"
    assert in_a_process(code, user=54321) == ""


def test_what_killed_fills_left_is_swept_after_a_day_and_not_before(tiny_edge: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    old, young, others = cache / ".0123456789abcdef.old", cache / ".0123456789abcdef.young", cache / ".git"
    a_day_ago = time.time() - 25 * 3600
    for left in (old, young, others):
        left.mkdir()
        (left / "half.onnx").write_bytes(b"half a graph")
    for left in (old, others):
        os.utime(left, (a_day_ago, a_day_ago))
    answer(tiny_edge)
    assert (old.exists(), young.exists(), others.exists()) == (False, True, True)
    assert len(graph_cache.entries()) == 1


def test_clearing_removes_everything_and_the_next_load_fills_again(
    tiny_edge: Path, cache: Path, tmp_path: Path
) -> None:
    answer(tiny_edge)
    (cache / f".{64 * 'a'}.json.abc_1234.tmp").write_bytes(b"12345")
    size = sum(path.stat().st_size for path in cache.iterdir())
    assert graph_cache.clear() == size
    assert list(cache.iterdir()) == []
    assert list((tmp_path / "cache" / "trust").iterdir()) == []
    assert graph_cache.clear() == 0
    answer(tiny_edge)
    assert only_entry(cache).is_file()


def test_files_of_others_in_the_folder_are_never_touched(tiny_edge: Path, cache: Path, tmp_path: Path) -> None:
    answer(tiny_edge)
    trusted = tmp_path / "cache" / "trust"
    precious = [
        cache / "thesis.txt",
        cache / "model.onnx",
        cache / ".config",
        trusted / "notes.json",
        trusted / "x.tmp",
    ]
    for path in precious:
        path.write_text("years of work")
    (cache / "sub").mkdir()
    (cache / "sub" / "thesis.txt").write_text("more of it")
    graph_cache.clear()
    assert {path.name for path in cache.iterdir()} == {"thesis.txt", "model.onnx", ".config", "sub"}
    assert (cache / "sub" / "thesis.txt").read_text() == "more of it"
    assert {path.name for path in trusted.iterdir()} == {"notes.json", "x.tmp"}


def test_a_model_that_is_broken_is_told_so_and_not_the_cache_blamed(
    make_artifact: Maker, cache: Path, warnings: Warnings
) -> None:
    path = make_artifact()
    (path / "fp32" / "model.onnx").write_bytes(b"%PDF-1.7 not a model")
    artifact = open_artifact(path)
    fakes.write_manifest(path, replace(artifact.manifest, variants=(fakes.variant(path, "fp32"),)))
    with pytest.raises(InvalidModel, match="not a valid ONNX model"):
        load(path)
    assert warnings() == []
    assert list(cache.iterdir()) == []


def test_a_manifest_that_lies_is_refused_with_a_cache_too(make_artifact: Maker) -> None:
    path = make_artifact()
    answer(path)
    artifact = open_artifact(path)
    lie = Port(name="input", dtype="float32", shape=("batch", 12))
    fakes.write_manifest(path, replace(artifact.manifest, inputs=(lie,)))
    with pytest.raises(ManifestError, match=r"the manifest says float32\[batch, 12\]"):
        load(path)


def test_a_variant_with_weights_beside_it_has_no_name_in_the_cache(tiny_edge: Path) -> None:
    variant = open_artifact(tiny_edge).variant()
    assert len(session.graph_name(variant)) == 64
    assert session.graph_name(replace(variant, files=variant.files * 2)) == ""
