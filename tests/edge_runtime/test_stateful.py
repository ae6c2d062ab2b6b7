"""Streams of a recurrent model: the same as feeding the state by hand, without a copy, and never mixed up."""

import os
import signal
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import ConcurrentUse, NonFiniteOutput, UnsupportedSystem, UsageError, WrongInput
from edge_runtime.manifest import Port, State
from edge_runtime.model import Model, load
from tests import fakes
from tests.conftest import Maker

WAIT_S = 20
STATE = (State(input="h_in", output="h_out"), State(input="n_in", output="n_out"))
Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write_artifact(tmp_path_factory.mktemp("cell") / "x.edge", fakes.recurrent(), state=STATE)


@pytest.fixture(scope="module")
def cell(path: Path) -> Iterator[Model]:
    with load(path, threads=1) as opened:
        yield opened


def frames(count: int, batch: int = 2, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=(count, batch, 3)).astype("f4")


def by_hand(model: Model, steps: Array, h: Array | None = None) -> list[dict[str, Array]]:
    h, n, answers = np.zeros((steps.shape[1], 4), "f4") if h is None else h, np.zeros(1, "i8"), []
    for frame in steps:
        answers.append(model(x=frame, h_in=h, n_in=n))
        h, n = answers[-1]["h_out"], answers[-1]["n_out"]
    return answers


def assert_same(answers: dict[str, Array], wanted: dict[str, Array]) -> None:
    assert sorted(answers) == ["h_out", "n_out", "y"]
    assert all(np.array_equal(answers[name], wanted[name]) for name in wanted)


def test_steps_answer_as_when_the_state_is_fed_back_by_hand(cell: Model) -> None:
    steps = frames(9)
    checked, fast = cell.with_state(x=steps[0]), cell.with_state(x=steps[0])
    for frame, wanted in zip(steps, by_hand(cell, steps), strict=True):
        assert_same(dict(checked(x=frame)), wanted)
        fast.inputs["x"][...] = frame
        assert_same(dict(fast()), wanted)
    assert fast.state["n_in"].tolist() == [9]
    assert np.array_equal(fast.state["h_in"], wanted["h_out"])


def test_answers_of_a_checked_step_belong_to_the_caller(cell: Model) -> None:
    stream, steps = cell.with_state(x=frames(1)[0]), frames(4)
    kept = [stream(x=frame) for frame in steps]
    for answers, wanted in zip(kept, by_hand(cell, steps), strict=True):
        assert_same(dict(answers), wanted)


def test_state_is_written_where_the_next_step_reads_it_and_no_buffer_is_ever_new(cell: Model) -> None:
    stream = cell.with_state(x=frames(1)[0])
    seen = []
    for _ in range(4):
        read, answers = stream.state, stream()
        assert answers["h_out"].ctypes.data == stream.state["h_in"].ctypes.data
        assert not np.shares_memory(answers["h_out"], read["h_in"])
        seen.append((answers["h_out"].ctypes.data, answers["n_out"].ctypes.data, answers["y"].ctypes.data))
    assert seen[0] == seen[2] != seen[1] == seen[3]
    assert len({y for _, _, y in seen}) == 1
    assert list(stream.inputs) == ["x"]


def test_streams_of_one_model_share_nothing(cell: Model) -> None:
    steps, others = frames(5, seed=1), frames(5, batch=3, seed=2)
    one, two = cell.with_state(x=steps[0]), cell.with_state(x=others[0])
    answers = [(one(x=frame), two(x=other)) for frame, other in zip(steps, others, strict=True)]
    assert_same(dict(answers[-1][0]), by_hand(cell, steps)[-1])
    assert_same(dict(answers[-1][1]), by_hand(cell, others)[-1])


@pytest.mark.parametrize("before", [1, 2])  # either buffer may be the one that is read
def test_reset_begins_anew_from_zeros_or_from_what_is_given(cell: Model, before: int) -> None:
    steps, h = frames(3), np.full((2, 4), 0.5, "f4")
    stream = cell.with_state(x=steps[0])
    for frame in steps[:before]:
        stream(x=frame)
    stream.reset()
    assert_same(dict(stream(x=steps[0])), by_hand(cell, steps)[0])
    stream.reset(h_in=h)
    assert_same(dict(stream(x=steps[0])), by_hand(cell, steps, h)[0])
    stream.reset()
    assert_same(dict(stream(x=steps[0])), by_hand(cell, steps)[0])


def test_a_stream_begins_with_the_given_state_and_reset_goes_back_to_it(cell: Model) -> None:
    steps, h = frames(3), np.full((2, 4), 0.5, "f4")
    stream = cell.with_state(h_in=h)  # the batch is shown by the state
    wanted = by_hand(cell, steps, h)
    for _ in range(2):
        for frame, answers in zip(steps, wanted, strict=True):
            assert_same(dict(stream(x=frame)), answers)
        stream.reset()


def test_a_saved_state_goes_on_where_it_was(cell: Model) -> None:
    steps = frames(6)
    stream, wanted = cell.with_state(x=steps[0]), by_hand(cell, steps)
    for frame in steps[:3]:
        stream(x=frame)
    saved = {name: array.copy() for name, array in stream.state.items()}
    stream(x=steps[0])
    stream.reset(**saved)
    for frame, answers in zip(steps[3:], wanted[3:], strict=True):
        assert_same(dict(stream(x=frame)), answers)


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"x": np.ones((3, 3), "f4")}, r'input "x" is float32\[3, 3\], this stream takes float32\[2, 3\]'),
        ({"x": np.ones((2, 3), "f8")}, r'input "x" is float64\[2, 3\], this stream takes'),
        ({"x": [[0.0] * 3] * 2}, 'input "x" is a list'),
        ({"x": np.ma.masked_array(np.ones((2, 3), "f4"))}, 'input "x" is a MaskedArray'),
        ({"x": np.ones((2, 3), "f4"), "h_in": np.ones((2, 4), "f4")}, "no input 'h_in' of this stream"),
        ({"image": np.ones((2, 3), "f4")}, "no input x"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_and_the_state_stays(
    cell: Model, inputs: dict[str, Any], problem: str
) -> None:
    steps = frames(2)
    stream = cell.with_state(x=steps[0])
    stream(x=steps[0])
    with pytest.raises(WrongInput, match=problem):
        stream(**inputs)
    assert_same(dict(stream(x=steps[1])), by_hand(cell, steps)[1])


def test_reset_refuses_what_is_no_state(cell: Model) -> None:
    stream = cell.with_state(x=frames(1)[0])
    with pytest.raises(WrongInput, match="no state 'x' of this stream"):
        stream.reset(x=frames(1)[0])
    with pytest.raises(WrongInput, match=r'state "h_in" is float32\[4\], this stream takes float32\[2, 4\]'):
        stream.reset(h_in=np.ones(4, "f4"))


def test_an_array_in_the_other_byte_order_is_converted(cell: Model) -> None:
    steps = frames(1)
    answers = cell.with_state(x=steps[0])(x=steps[0].astype(">f4"))
    assert_same(dict(answers), by_hand(cell, steps)[0])


def test_a_size_that_nothing_shows_is_asked_for(cell: Model) -> None:
    with pytest.raises(UsageError, match='nothing shows the size batch of "x"') as refused:
        cell.with_state()
    assert "with_state(x=...)" in refused.value.hint


def test_a_model_of_fixed_sizes_needs_no_arrays_to_begin(make_artifact: Maker) -> None:
    pair = (State(input="total_in", output="total_out"),)
    with load(make_artifact(fakes.counting(), state=pair), threads=1) as opened:
        stream = opened.with_state()
        assert [stream(x=np.array([v], "f4"))["sum"].tolist() for v in (1, 2, 3)] == [[1.0], [3.0], [6.0]]


def test_a_model_without_declared_state_says_how_to_declare_it(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as opened, pytest.raises(UsageError, match="no recurrent state") as refused:
        opened.with_state(input=np.ones((1, 13), "f4"))
    assert "--state" in refused.value.hint


def test_state_larger_than_any_memory_is_refused(make_artifact: Maker) -> None:
    x, count = Port(name="x", dtype="float32", shape=("batch", 3)), Port(name="n_in", dtype="int64", shape=(1,))
    outputs = (Port(name="y", dtype="float32", shape=("batch", 2)), replace(count, name="n_out"))
    for rows in (2**44, 2**62):
        huge = Port(name="h_in", dtype="float32", shape=(rows, 4))
        ports = {"inputs": (count, x, huge), "outputs": (replace(huge, name="h_out"), *outputs)}
        path = make_artifact(fakes.recurrent(), folder=f"{rows}.edge", state=STATE, **ports)
        with load(path, threads=1) as opened, pytest.raises(UnsupportedSystem, match="not enough memory"):
            opened.with_state(x=frames(1)[0])


def test_a_step_with_a_non_finite_answer_is_refused_and_leaves_the_state_as_it_was(make_artifact: Maker) -> None:
    pair = (State(input="total_in", output="total_out"),)
    with load(make_artifact(fakes.counting(), state=pair), threads=1, check_finite=True) as opened:
        stream = opened.with_state()
        stream(x=np.array([2], "f4"))
        with pytest.raises(NonFiniteOutput):
            stream(x=np.array([np.inf], "f4"))
        assert stream(x=np.array([3], "f4"))["sum"].tolist() == [5.0]


def test_closing_the_model_ends_its_streams(path: Path) -> None:
    opened = load(path, threads=1)
    stream = opened.with_state(x=frames(1)[0])
    stream()
    opened.close()
    for _ in range(2):
        with pytest.raises(UsageError, match="the model is closed"):
            stream()


def test_two_threads_in_one_stream_are_refused_and_no_step_is_lost_or_taken_twice(cell: Model) -> None:
    stream = cell.with_state(x=np.ones((20_000, 3), "f4"))
    done, refused, ready = [0], [0], threading.Barrier(2)

    def use() -> None:
        ready.wait(WAIT_S)
        for _ in range(60):
            try:
                stream()
            except ConcurrentUse:
                refused[0] += 1
            else:
                done[0] += 1

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert refused[0] > 0
    assert done[0] + refused[0] == 120
    assert stream.state["n_in"].tolist() == [done[0]]


def test_a_stream_that_is_reset_while_a_thread_is_in_it_refuses(cell: Model) -> None:
    stream = cell.with_state(x=frames(1)[0])
    with stream._alone(), pytest.raises(ConcurrentUse):
        stream.reset()
    stream.reset()


def test_a_step_allocates_nothing_that_stays(cell: Model) -> None:
    stream = cell.with_state(x=frames(1)[0])
    for _ in range(100):
        stream()
    tracemalloc.start()
    try:
        stream()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            stream()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 500


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_of_the_fork_even_while_a_thread_is_in_a_step(cell: Model) -> None:
    stream, stop, running = cell.with_state(x=np.ones((20_000, 3), "f4")), threading.Event(), threading.Event()

    def use() -> None:
        while not stop.is_set():
            stream()
            running.set()

    thread = threading.Thread(target=use)
    thread.start()
    assert running.wait(WAIT_S)
    statuses = []
    for _ in range(5):
        child = os.fork()
        if not child:
            try:
                signal.alarm(WAIT_S)
                stream()
            except UsageError as error:  # ConcurrentUse is one too, and would be a riddle here
                os._exit(0 if "forked" in error.what else 2)
            finally:
                os._exit(1)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    thread.join(WAIT_S)
    assert statuses == [0] * 5
