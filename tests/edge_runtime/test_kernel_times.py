"""onnxruntime's profile: times by node add up, and a file that is none is refused."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import kernel_times
from edge_runtime.kernel_times import Node, ProfileUnreadable, read_runs, read_work
from edge_runtime.op_counts import Counts


def kernel(name: str, start: int, duration: int, operator: str = "Add", index: int = 0) -> dict[str, Any]:
    shapes = {"input_type_shape": [{"float": [2, 3]}, {"float": [3]}], "output_type_shape": [{"float": [2, 3]}]}
    arguments = {"op_name": operator, "node_index": str(index), "provider": "CPUExecutionProvider", **shapes}
    return event(f"{name}_kernel_time", start, duration, "Node", arguments)


def event(
    name: str, start: int, duration: int, category: str = "Session", arguments: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "cat": category,
        "pid": 1,
        "tid": 1,
        "dur": duration,
        "ts": start,
        "ph": "X",
        "name": name,
        "args": arguments or {},
    }


def written(path: Path, events: list[dict[str, Any]]) -> Path:
    file = path / "profile.json"
    file.write_text("[\n" + ",\n".join(json.dumps(one) for one in events) + "\n]\n")
    return file


PLAIN = [
    event("session_initialization", 0, 90),
    kernel("a", 101, 20),
    kernel("b", 122, 30, "Mul", 1),
    event("SequentialExecutor::Execute", 101, 55),
    event("model_run", 100, 60),
    kernel("a", 201, 10),
    kernel("b", 212, 20, "Mul", 1),
    event("model_run", 200, 40),
]


def test_kernels_belong_to_the_run_that_ends_after_them(tmp_path: Path) -> None:
    first, second = read_runs(written(tmp_path, PLAIN))
    assert (first.duration_us, second.duration_us) == (60, 40)
    assert [(one.node, one.self_us) for one in first.kernels] == [
        (Node("a", "Add", 0, 0), 20),
        (Node("b", "Mul", 1, 0), 30),
    ]
    assert [one.self_us for one in second.kernels] == [10, 20]


def test_a_loop_is_given_the_time_that_its_body_did_not_take(tmp_path: Path) -> None:
    events = [
        kernel("body", 110, 10),
        kernel("body", 121, 10),
        kernel("inner loop", 132, 20, "If"),
        kernel("deep", 135, 5),
        kernel("loop", 105, 60, "Loop"),
        kernel("after", 165, 0),
        kernel("body", 166, 10),
        event("model_run", 100, 80),
    ]
    (run,) = read_runs(written(tmp_path, events))
    assert [(one.node.name, one.node.depth, one.self_us) for one in run.kernels] == [
        ("loop", 0, 60 - 10 - 10 - 20),
        ("body", 1, 10),
        ("body", 1, 10),
        ("inner loop", 1, 20 - 5),
        ("deep", 2, 5),
        ("after", 0, 0),
        ("body", 0, 10),
    ]
    assert sum(one.self_us for one in run.kernels) == 60 + 10


def test_a_loop_that_begins_in_the_microsecond_of_its_body_is_around_it(tmp_path: Path) -> None:
    events = [kernel("body", 100, 10), kernel("loop", 100, 10, "Loop"), event("model_run", 100, 11)]
    (run,) = read_runs(written(tmp_path, events))
    assert [(one.node.name, one.self_us) for one in run.kernels] == [("loop", 0), ("body", 10)]


def test_the_work_of_a_node_is_the_sum_over_its_calls_in_one_run(tmp_path: Path) -> None:
    events = [kernel("a", 101, 1), kernel("a", 103, 1), event("model_run", 100, 9), *PLAIN[5:]]
    assert read_work(written(tmp_path, events)) == {Node("a", "Add", 0, 0): Counts(12, 2 * 4 * (6 + 3 + 6), "float32")}


def changed(position: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**one, **changes} if place == position else one for place, one in enumerate(PLAIN)]


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([], "line 2"),
        (PLAIN[:1], "no run of the model"),
        (PLAIN[:3], "outside every run"),
        (changed(1, ts=99), "outside its run"),
        (changed(1, dur=61), "outside its run"),
        (changed(1, dur=-1), "dur is -1"),
        (changed(1, dur=1.5), "dur is a number"),
        (changed(1, ts=10**15), "expected 0 to"),
        (changed(1, ph="B"), "ph is 'B'"),
        (changed(1, name=None), "name is null"),
        (changed(1, args=[]), "args is a list"),
        (changed(1, args={"op_name": "Add"}), "node_index is missing"),
        (changed(1, args={"op_name": "Add", "node_index": "²"}), "expected digits"),
        (changed(1, args={"op_name": "x" * 300, "node_index": "1"}), "300 characters"),
    ],
)
def test_a_profile_of_another_form_is_refused_with_its_place(
    tmp_path: Path, events: list[dict[str, Any]], told: str
) -> None:
    with pytest.raises(ProfileUnreadable, match="onnxruntime's profile can't be read") as refused:
        read_runs(written(tmp_path, events))
    assert told in refused.value.what
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    "shapes",
    [None, {}, [[]], [{}], [{"float": [1], "int8": [1]}], [{"float": [-1]}], [{"float": [2**50]}], [{"float": "1"}]],
)
def test_a_shape_of_another_form_is_refused(tmp_path: Path, shapes: Any) -> None:
    arguments = {**PLAIN[1]["args"], "input_type_shape": shapes}
    with pytest.raises(ProfileUnreadable, match="input_type_shape"):
        read_work(written(tmp_path, changed(1, args=arguments)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[",
        "[\n",
        "[\n]\n",
        "[\n]\n[",
        "[\nnull\n]",
        "[\n" + "x" * (1 << 17) + "\n]",
        "[\n" + '{"cat": ' + "[" * 40_000 + "\n]",
        '[\n{"cat": "Session", "cat": "Node", "name": "model_run", "ph": "X", "ts": 1, "dur": 1}\n]',
    ],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "profile.json"
    file.write_text(text)
    with pytest.raises(ProfileUnreadable):
        read_runs(file)


def test_a_profile_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    with file.open("wb") as stream:
        stream.truncate(kernel_times.MAX_FILE_BYTES + 1)
    with pytest.raises(ProfileUnreadable, match="larger than"):
        read_runs(file)


def test_a_missing_profile_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileUnreadable, match="no such file"):
        read_runs(tmp_path / "none.json")


@given(st.binary(max_size=60), st.integers(0, 400))
def test_whatever_a_profile_is_spoiled_with_it_is_read_or_refused(
    tmp_path_factory: Any, spoil: bytes, place: int
) -> None:
    file = written(tmp_path_factory.mktemp("spoiled"), PLAIN)
    content = file.read_bytes()
    file.write_bytes(content[:place] + spoil + content[place + len(spoil) :])
    for read in (read_runs, read_work):
        with contextlib.suppress(ProfileUnreadable):  # whatever else is raised fails the test
            assert len(read(file)) > 0
