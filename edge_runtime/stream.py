"""Overlap the preparing of inputs with inference, and keep the order."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _End:
    """The end of the items, or what they raised; it takes their place in the order."""

    def __init__(self, problem: BaseException | None) -> None:
        self.problem = problem


def in_order(call: Callable[[Item], Answer], items: Iterable[Item], *, prefetch: int) -> Iterator[Answer]:
    """Yield ``call(item)`` for each item, in order; items are taken in a thread of their own, at most `prefetch` ahead.

    onnxruntime lets go of Python's lock while it computes, so what makes the items runs meanwhile. What they raise
    is raised here, after the answers to those before. Leaving the iteration early ends the thread.
    """
    waiting: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
    room = threading.Semaphore(prefetch - 1)  # the first item is taken without asking
    left = threading.Event()

    def prepare() -> None:
        problem: BaseException | None = None
        try:
            for item in items:
                waiting.put(item)
                room.acquire()
                if left.is_set():
                    return
        except BaseException as raised:  # noqa: BLE001 - it belongs to the consumer, who is given it in its place
            problem = raised
        waiting.put(_End(problem))

    threading.Thread(target=prepare, daemon=True, name="edge-stream").start()
    try:
        while not isinstance(item := waiting.get(), _End):
            room.release()
            yield call(item)
        if item.problem is not None:
            raise item.problem
    finally:
        left.set()
        room.release()
