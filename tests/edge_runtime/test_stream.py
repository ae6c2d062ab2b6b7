"""Answers in the order of the items, while the next items are being made; ordering is shown by events, not by times."""

import threading
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import UsageError, WrongInput
from edge_runtime.model import load
from edge_runtime.stream import in_order

WAIT_S = 20  # of an event that is certain to come; only a broken test waits so long


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "edge-stream"]


def joined() -> bool:
    for thread in stream_threads():
        thread.join(WAIT_S)
    return not stream_threads()


def test_answers_come_in_the_order_of_the_items() -> None:
    assert list(in_order(lambda item: item * 10, range(1000), prefetch=3)) == [item * 10 for item in range(1000)]
    assert list(in_order(str, [], prefetch=1)) == []
    assert joined()


def test_the_next_item_is_made_while_the_model_runs() -> None:
    second_began, answered = threading.Event(), []

    def items() -> Iterator[int]:
        yield 1
        second_began.set()
        yield 2

    def call(item: int) -> int:
        # were items made between calls, the second could not begin while this one is answered
        answered.append(second_began.wait(WAIT_S))
        return item

    assert list(in_order(call, items(), prefetch=1)) == [1, 2]
    assert answered == [True, True]


@pytest.mark.parametrize("prefetch", [1, 2, 5])
def test_no_more_items_are_made_ahead_than_asked_for(prefetch: int) -> None:
    made = 0

    def items() -> Iterator[int]:
        nonlocal made
        for item in count():
            made += 1
            yield item

    ahead = []
    for answer in in_order(lambda item: item, items(), prefetch=prefetch):
        # time for the preparing thread to run too far, if it would
        threading.Event().wait(0.005)
        ahead.append(made - (answer + 1))
        if answer == 20:
            break
    assert max(ahead) <= prefetch
    assert ahead[-1] == prefetch
    assert joined()


def test_what_the_items_raise_is_raised_after_the_answers_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ConnectionResetError("the camera left")

    answers: list[int] = []
    with pytest.raises(ConnectionResetError, match="the camera left"):
        answers.extend(in_order(lambda item: item, items(), prefetch=8))  # it keeps what came before
    assert answers == [1, 2]
    assert joined()


def test_what_the_call_raises_ends_the_stream_and_its_thread() -> None:
    def call(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    stream = in_order(call, count(), prefetch=2)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(stream)
    assert joined()


def test_leaving_early_ends_the_thread_and_closes_the_items() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from count()
        finally:
            closed.set()

    stream = in_order(lambda item: item, items(), prefetch=2)
    for first, second in pairwise(stream):
        if second == 3:
            assert first == 2
            break
    stream.close()  # type: ignore[attr-defined]  # a generator, told as an iterator
    assert joined()
    assert closed.wait(WAIT_S)


def test_a_stream_that_nobody_reads_starts_no_thread() -> None:
    stream = in_order(str, count(), prefetch=2)
    assert stream_threads() == []
    del stream


def test_a_model_streams_names_or_the_bare_array_of_its_one_input(tiny_edge: Path) -> None:
    frames = [np.random.default_rng(seed).normal(size=(1 + seed % 3, 13)).astype("f4") for seed in range(20)]
    with load(tiny_edge, threads=1) as model:
        wanted = [model(input=frame)["output"].tolist() for frame in frames]
        assert [answer["output"].tolist() for answer in model.stream(frames)] == wanted
        named = ({"input": frame} for frame in frames)
        assert [answer["output"].tolist() for answer in model.stream(named, prefetch=1)] == wanted
        with pytest.raises(WrongInput, match=r"is float32\[1, 12\]"):
            list(model.stream([frames[0], frames[0][:, :12]]))
        with pytest.raises(UsageError, match="prefetch=0"):
            model.stream(frames, prefetch=0)
    assert joined()
