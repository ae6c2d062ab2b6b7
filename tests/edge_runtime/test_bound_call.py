"""Bound calls: buffers of their own, one thread at a time, nothing allocated, and no wrong answer in any mix-up."""

import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime import sensors
from edge_runtime.bound_call import CACHE_LINE
from edge_runtime.errors import ConcurrentUse, EdgeError, InvalidModel, NonFiniteOutput, UnsupportedModel, UsageError
from edge_runtime.manifest import Port
from edge_runtime.model import Model, load
from tests import fakes
from tests.conftest import Maker

WAIT_S = 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with load(fakes.write_artifact(tmp_path_factory.mktemp("pair") / "x.edge", fakes.pair()), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with load(fakes.write_artifact(tmp_path_factory.mktemp("slow") / "x.edge", fakes.slow()), threads=1) as opened:
        yield opened


def x(batch: int = 2) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(batch, 13)).astype("f4")


def test_a_bound_call_copies_its_inputs_and_leaves_the_callers_alone(pair: Model) -> None:
    given = np.ones((2, 3), "f4")
    call = pair.bind(a=given, b=given)
    given[...] = 100
    assert call()["sum"].tolist() == [[2.0] * 3] * 2
    call.inputs["a"][...] = 5
    assert call()["sum"].tolist() == [[6.0] * 3] * 2
    assert given[0, 0] == 100


def test_answers_of_a_bound_call_are_views_that_the_next_call_changes(pair: Model) -> None:
    call = pair.bind(a=np.ones((1, 3), "f4"), b=np.ones((1, 3), "f4"))
    answer = call()["sum"]
    call.inputs["b"][...] = 9
    assert answer.tolist() == [[2.0] * 3]
    assert call()["sum"] is answer
    assert answer.tolist() == [[10.0] * 3]


def test_bound_calls_do_not_share_buffers(pair: Model) -> None:
    one = pair.bind(a=np.ones((1, 3), "f4"), b=np.ones((1, 3), "f4"))
    two = pair.bind(a=np.full((1, 3), 5, "f4"), b=np.ones((1, 3), "f4"))
    first, second = one()["sum"], two()["sum"]
    assert (first[0, 0], second[0, 0]) == (2.0, 6.0)


def test_an_input_that_is_replaced_instead_of_written_into_is_refused(pair: Model) -> None:
    # as a plain dict it would take the array, and the model would go on reading the old buffer
    ones: Any = np.ones((1, 3), "f4")
    call: Any = pair.bind(a=ones, b=ones)
    with pytest.raises(TypeError):
        call.inputs["a"] = ones * 7
    with pytest.raises(TypeError):
        call()["sum"] = ones * 7  # and the next call's answers would be these
    assert call()["sum"].tolist() == [[2.0] * 3]


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_buffers_begin_on_a_cache_line(tiny_edge: Path, batch: int) -> None:
    with load(tiny_edge, threads=1) as model:
        call = model.bind(input=x(batch))
        for array in (*call.inputs.values(), *call().values()):
            assert array.ctypes.data % CACHE_LINE == 0
            assert array.flags.c_contiguous


def test_an_output_whose_size_the_data_decide_is_new_at_each_bound_call(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.found()), threads=1) as opened:
        call = opened.bind(x=np.array([0, 1, 0, 2], "f4"))
        assert call()["places"].tolist() == [[1, 3]]
        call.inputs["x"][...] = 1
        everywhere = call()["places"]
        call.inputs["x"][...] = 0
        assert call()["places"].shape == (1, 0)
        assert everywhere.tolist() == [[0, 1, 2, 3]]
        assert list(call()) == ["places", "minus"]


def test_a_manifest_that_lies_about_a_size_cannot_make_a_bound_call_write_past_its_buffer(
    make_artifact: Maker,
) -> None:
    # the file says [batch, 1]; one row is what the manifest promises, and seven are what the model answers
    path = make_artifact(outputs=(Port(name="output", dtype="float32", shape=(1, 1)),))
    with load(path, threads=1) as opened:
        assert opened.bind(input=x(1))()["output"].shape == (1, 1)
        with pytest.raises(EdgeError):
            opened.bind(input=x(7))()


def test_strings_cannot_be_bound(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.echo_of(8)), threads=1) as texts:
        with pytest.raises(UnsupportedModel, match=r'"[xy]" holds strings') as refused:
            texts.bind(x=np.array(["a"], object))
        assert "call the model instead" in refused.value.hint


def test_two_threads_in_one_bound_call_are_refused_and_never_given_mixed_answers(slow: Model) -> None:
    call = slow.bind(x=np.ones((200, 400), "f4"))
    expected = call()["y"].copy()
    refused, wrong, ready = [0], [0], threading.Barrier(2)

    def use() -> None:
        ready.wait(WAIT_S)
        for _ in range(40):
            try:
                answer = call()["y"]
            except ConcurrentUse:
                refused[0] += 1
            else:
                wrong[0] += not np.array_equal(answer, expected)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert refused[0] > 0  # a call takes milliseconds outside Python's lock: the two do meet
    assert wrong[0] == 0
    assert np.array_equal(call()["y"], expected)  # and free again afterwards


def test_a_call_that_failed_can_be_made_again(make_artifact: Maker) -> None:
    with load(make_artifact(fakes.halves()), threads=1) as opened:
        odd = opened.bind(x=np.zeros(7, "f4"))
        for _ in range(2):
            with pytest.raises(InvalidModel, match=r'node "fold" \(Reshape\) failed'):
                odd()


def test_closing_the_model_ends_its_bound_calls(tiny_edge: Path) -> None:
    opened = load(tiny_edge, threads=1)
    call = opened.bind(input=x())
    call()
    opened.close()
    opened.close()
    with pytest.raises(UsageError, match="the model is closed"):
        call()


def test_a_model_may_be_closed_while_threads_call_it(tiny_edge: Path, slow: Model) -> None:
    for _ in range(5):
        opened = load(slow.artifact.path, threads=1)
        call, wanted = opened.bind(x=np.ones((20, 400), "f4")), slow(x=np.ones((20, 400), "f4"))["y"]
        running, odd = threading.Event(), list[object]()

        def use(step: Callable[[], Any], wanted: Any = wanted, odd: list[object] = odd, go: Any = running) -> None:
            try:
                while True:
                    if not np.array_equal(step()["y"], wanted):
                        odd.append("a wrong answer")
                    go.set()
            except UsageError as error:
                odd.append(error.what)

        threads = [
            threading.Thread(target=use, args=[step])
            for step in (call, lambda opened=opened: opened(x=np.ones((20, 400), "f4")))
        ]
        for thread in threads:
            thread.start()
        assert running.wait(WAIT_S)
        opened.close()
        for thread in threads:
            thread.join(WAIT_S)
        assert odd == ["the model is closed"] * 2


def in_a_fork(check: Callable[[], object]) -> int:
    """Return the exit code of a forked child that runs `check`; it is killed when it hangs."""
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a handler of Python's would wait for C code to return
            signal.alarm(WAIT_S)
            status = 0 if check() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_is_refused_and_the_parent_goes_on(tiny_edge: Path, threads: int) -> None:
    if threads > (os.cpu_count() or 1):
        pytest.skip("one CPU")
    opened = load(tiny_edge, threads=threads)
    call, given = opened.bind(input=x()), x()
    wanted = call()["output"].tolist()

    def refused() -> bool:
        told = []
        for use in (call, lambda: opened(input=given), lambda: opened.bind(input=given)):
            try:
                use()
            except UsageError as error:
                told.append("forked" in error.what and "load it in the child" in error.hint)
        gc.collect()
        with load(tiny_edge, threads=1) as own:
            return told == [True] * 3 and own(input=given)["output"].tolist() == wanted

    assert in_a_fork(refused) == 0
    assert call()["output"].tolist() == wanted
    assert opened(input=given)["output"].tolist() == wanted
    opened.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_another_thread_is_in_a_call_is_told_of_the_fork(slow: Model) -> None:
    call, stop, running = slow.bind(x=np.ones((200, 400), "f4")), threading.Event(), threading.Event()

    def use() -> None:
        while not stop.is_set():
            call()
            running.set()

    def told_of_the_fork() -> bool:
        try:
            call()
        except UsageError as error:  # ConcurrentUse is one too, and would be a riddle here
            return "forked" in error.what
        return False

    thread = threading.Thread(target=use)
    thread.start()
    assert running.wait(WAIT_S)
    try:
        statuses = [in_a_fork(told_of_the_fork) for _ in range(5)]
    finally:
        stop.set()
        thread.join(WAIT_S)
    assert statuses == [0] * 5


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_call_that_outlived_its_model_is_refused_in_a_forked_child(tiny_edge: Path) -> None:
    call = load(tiny_edge, threads=1).bind(input=x())
    gc.collect()
    wanted = call()["output"].tolist()

    def refused() -> bool:
        try:
            call()
        except UsageError as error:
            return "forked" in error.what
        return False

    assert in_a_fork(refused) == 0
    assert call()["output"].tolist() == wanted


FORKING = """
import os, signal, sys, warnings, edge_runtime, numpy
warnings.simplefilter("ignore")
model = edge_runtime.load({path!r})
call = model.bind(input=numpy.ones((2, 13), "f4"))
child = os.fork()
if not child:
    signal.alarm({wait})
    del model, call  # freeing the session would wait for threads that did not come along
    sys.exit(7)  # and so would the interpreter's own end
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), call()["output"].shape)
"""


def test_a_forked_child_may_drop_the_model_and_leave(tiny_edge: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING.format(path=str(tiny_edge), wait=WAIT_S)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=2 * WAIT_S,
        check=False,
    )
    assert done.stdout == "7 (2, 1)\n", done.stderr


def test_non_finite_answers_are_told_when_that_was_asked_for(make_artifact: Maker) -> None:
    path = make_artifact(fakes.logarithm())
    odd, fine = np.array([-1, 0, 1], "f4"), np.array([1, 2, 3], "f4")
    with load(path, threads=1, check_finite=True) as checked, load(path, threads=1) as unchecked:
        assert np.isnan(unchecked.bind(x=odd)()["y"][0])
        call = checked.bind(x=fine)
        np.testing.assert_allclose(call()["y"], np.log(fine), rtol=1e-6)
        call.inputs["x"][...] = odd
        with pytest.raises(NonFiniteOutput, match='output "y" holds 2 values that are NaN or infinite'):
            call()
        call.inputs["x"][...] = fine
        np.testing.assert_allclose(call()["y"], np.log(fine), rtol=1e-6)


@pytest.mark.parametrize("sample", [fakes.tiny, fakes.found], ids=lambda made: made.__name__)
def test_a_bound_call_allocates_nothing_that_stays(make_artifact: Maker, sample: Callable[[], fakes.Sample]) -> None:
    made = sample()
    with load(make_artifact(made), threads=1) as opened:
        call = opened.bind(**made.cases[0])
        for _ in range(100):
            call()
        tracemalloc.start()
        try:
            call()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(2000):
                call()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert grown < 500  # bytes, where a leaked object a call would be 50,000


def test_memory_is_flat_over_many_bound_calls(tiny_edge: Path) -> None:
    with load(tiny_edge, threads=1) as opened:
        call = opened.bind(input=x(64))
        for _ in range(2000):
            call()
        before = sensors.memory().resident
        for _ in range(100_000):
            call()
        after = sensors.memory().resident
    assert before is not None
    assert after is not None
    assert after - before < 256 * 1024  # three bytes a call
