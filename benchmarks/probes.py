"""What is counted instead of timed, each in a process of its own: ``python -m benchmarks.probes PROBE NAME.edge``.

Prints one JSON object.
"""

import itertools
import json
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import edge_runtime as edge
from edge_runtime import sensors

CALLS = 1_000_000
WARMUP = 10_000  # after which every cache of the interpreter and of malloc has its size
IMAGES, BATCH = 5, 64


def growth(path: str) -> Mapping[str, int]:
    """Return what a million bound calls leave behind: resident bytes, then traced bytes in a million more."""
    call = _bound(path)
    _repeat(call, WARMUP)
    before = sensors.memory().resident
    _repeat(call, CALLS)
    after = sensors.memory().resident
    tracemalloc.start()
    _repeat(call, WARMUP)
    traced = tracemalloc.get_traced_memory()[0]
    _repeat(call, CALLS)
    traced = tracemalloc.get_traced_memory()[0] - traced
    return {"resident_bytes": (after or 0) - (before or 0), "traced_bytes": traced}


def peak(path: str) -> Mapping[str, int]:
    """Return the most that one bound call holds for a while on Python's side, in bytes."""
    call = _bound(path)
    tracemalloc.start()
    _repeat(call, 10)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    _repeat(call, 10)
    return {"peak_bytes": tracemalloc.get_traced_memory()[1] - before}


def identical(path: str) -> Mapping[str, object]:
    """Return how many answers of the mapped graph equal those of a session that optimised the model itself."""
    edge.load(path, threads=1).close()  # fills the cache where it is empty
    mapped, plain = edge.load(path, threads=1), edge.load(path, threads=1, cache=False)
    random = np.random.default_rng(7)
    same = 0
    for _ in range(IMAGES):
        inputs = {port.name: random.normal(size=_sizes(port)).astype(port.dtype) for port in mapped.inputs}
        answers, wanted = mapped(**inputs), plain(**inputs)
        same += all(np.array_equal(answers[name], wanted[name]) for name in wanted)
    return {"same": same, "of": IMAGES, "mapped": ".weights" in Path("/proc/self/maps").read_text(encoding="utf-8")}


def _bound(path: str) -> Callable[[], object]:
    model = edge.load(path, threads=1)
    return model.bind(**{port.name: np.ones(_sizes(port), port.dtype) for port in model.inputs})


def _sizes(port: edge.Port) -> list[int]:
    return [size if isinstance(size, int) else BATCH for size in port.shape]


def _repeat(call: Callable[[], object], count: int) -> None:
    for _ in itertools.repeat(None, count):  # a range would allocate integers
        call()


if __name__ == "__main__":
    print(json.dumps({"growth": growth, "peak": peak, "identical": identical}[sys.argv[1]](sys.argv[2])))
