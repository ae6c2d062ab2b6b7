"""What this machine can do at best: memory bandwidth, and matrix products through onnxruntime itself.

Data sheets promise twice of what any program reaches; a ceiling that this very engine reached is one that the
profile's shares can be held against. Measured once a boot, machine, engine and set of CPUs, then kept in the cache.
"""

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from edge_runtime import decode, files, graph_cache, one_node
from edge_runtime.environment import HERE, meminfo_bytes
from edge_runtime.errors import EdgeError, WorkerLost
from edge_runtime.tree import Tree, as_integer

KIND, SCHEMA = "edge-peaks", 1
MAX_BYTES = 4096
REPEATS = 7  # the best of them: what disturbs a measurement only ever makes it slower
# of matrix products, with how often each is repeated. 1024: 2.1 GFLOP, long enough to hide the call, short enough for a
# small board. 512: 0.3 GFLOP, which fits into one turn of a scheduler: on a machine with five busy processes a core,
# where no larger one ran unbroken, it reached four times their rate.
SIZES = {1024: 7, 512: 28}
CACHE_MULTIPLE = 4  # arrays so much larger than the last-level cache that it serves almost none of the copy
FALLBACK_CACHE_BYTES = 8 * 2**20  # where the kernel doesn't tell: above the caches of the boards that don't
MEMORY_SHARE = 8  # each of the two arrays takes at most this part of the available memory
MAX_PER_SECOND = 10**16
KEPT = 16  # files in the cache: more thread counts and CPU sets than anyone compares in one boot
BOOT_ID = "proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The best that was measured, at `threads` threads.

    copy_bytes: the size of the array copied; its traffic is twice that.   float32 and int8: operations per second of a
    matrix product of 1024³ or 512³, whichever is faster, a multiply-add counted as two; int8 is unsigned times signed.
    """

    threads: int
    copy_bytes: int
    copy_bytes_per_s: int
    float32_operations_per_s: int
    int8_operations_per_s: int

    def least_ns(self, operations: int, moved_bytes: int, *, arithmetic: str | None) -> float | None:
        """Return the shortest time for this work: the longer of computing it and moving it, in nanoseconds.

        None for arithmetic whose peak was not measured. Source: Williams, Waterman & Patterson (2009), Roofline.
        """
        compute = {"float32": self.float32_operations_per_s, "int8": self.int8_operations_per_s}.get(arithmetic or "")
        if operations and compute is None:
            return None
        return max(operations / compute if compute else 0.0, moved_bytes / self.copy_bytes_per_s) * 1e9


def measure_peaks(threads: int, *, tree: Tree = HERE) -> Peaks:
    """Measure the peaks of the CPUs this process may use, with `threads` threads; takes a second or two.

    tree: tells the caches and the memory.
    """
    size = copy_size(tree)
    return Peaks(
        threads=threads,
        copy_bytes=size,
        copy_bytes_per_s=_per_s(2 * size, _copy_ns(size, threads)),
        float32_operations_per_s=_product_per_s("MatMul", "float32", "float32", "float32", threads),
        int8_operations_per_s=_product_per_s("MatMulInteger", "uint8", "int8", "int32", threads),
    )


def copy_size(tree: Tree = HERE) -> int:
    """Return the size in bytes of the array to copy: four times the last-level cache, if the memory allows it."""
    folder = "sys/devices/system/cpu/cpu0/cache"
    caches = [_cache_bytes(tree.text(f"{folder}/{name}/size")) for name in tree.names(folder, "index*")]
    wanted = CACHE_MULTIPLE * max(filter(None, caches), default=FALLBACK_CACHE_BYTES)
    available = meminfo_bytes(tree, "MemAvailable")
    return wanted if available is None else max(1 << 20, min(wanted, available // MEMORY_SHARE))


def cache_key(machine_key: str, *, engine: str, cpus: Sequence[int], threads: int, tree: Tree = HERE) -> str:
    """Return the name under which peaks are kept, or "" where the system doesn't tell one boot from another."""
    boot = tree.text(BOOT_ID)
    if boot is None:
        return ""
    # the sizes too: what another release measured otherwise is not this one's
    parts = (boot, machine_key, engine, ",".join(map(str, cpus)), str(threads), str(SIZES))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def known_or_measured(
    machine_key: str,
    *,
    engine: str,
    threads: int,
    cpus: Sequence[int],
    run: Callable[[], Mapping[str, Mapping[str, Any]]],
    again: bool = False,
) -> Peaks:
    """Return this machine's peaks: those kept in this boot, else measured by a worker, and kept.

    engine: onnxruntime with its version.   run: gives a worker the job "peaks" and returns its events by name; called
    where nothing is kept, it may raise.   again: measure in any case, and keep the better of what was and what is
    known, for a machine that was busy then. Raises WorkerLost when they tell no peaks.
    """
    folder = graph_cache.folder().with_name("peaks")
    key = cache_key(machine_key, engine=engine, cpus=cpus, threads=threads)
    known = read_cached(folder, key)
    known = known if known is not None and known.threads == threads else None
    if known is not None and not again:
        return known
    events = run()
    measured = parse(
        decode.Fields(events.get("peaks", {}), "the worker that measures peaks", "", WorkerLost).child("peaks")
    )
    measured = measured if known is None else _better(known, measured)
    keep(folder, key, measured)
    return measured


def read_cached(folder: Path, key: str) -> Peaks | None:
    """Return what was kept under a key, or None when there is nothing or nothing readable."""
    path = folder / f"{key}.json"
    if not key or not path.is_file():
        return None
    try:
        fields = decode.document(files.read_bytes(path, limit_bytes=MAX_BYTES), where=str(path))
        decode.envelope(fields, kind=KIND, schema=SCHEMA, what="measurement of peaks")
        peaks = parse(fields.child("peaks"))
        fields.finish()
    except EdgeError:
        return None  # measured again and written anew
    return peaks


def keep(folder: Path, key: str, peaks: Peaks) -> None:
    """Keep peaks under a key and drop the oldest beyond a few; a full or read-only disk does no harm."""
    if not key:
        return
    with contextlib.suppress(EdgeError, OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {"kind": KIND, "schema": SCHEMA, "peaks": asdict(peaks)}
        files.write_whole(folder / f"{key}.json", decode.as_json(document).encode())
        for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)


def parse(fields: decode.Fields) -> Peaks:
    """Read peaks from a cache file or a worker; every rate is above zero, for times are divided by it."""
    peaks = Peaks(
        threads=fields.integer("threads", low=1, high=4096),
        copy_bytes=fields.integer("copy_bytes", low=1),
        copy_bytes_per_s=fields.integer("copy_bytes_per_s", low=1, high=MAX_PER_SECOND),
        float32_operations_per_s=fields.integer("float32_operations_per_s", low=1, high=MAX_PER_SECOND),
        int8_operations_per_s=fields.integer("int8_operations_per_s", low=1, high=MAX_PER_SECOND),
    )
    fields.finish()
    return peaks


def _better(one: Peaks, other: Peaks) -> Peaks:
    """Return the larger of each rate: what disturbs a measurement only ever makes it slower."""
    return replace(
        one,
        **{
            rate: max(getattr(one, rate), getattr(other, rate))
            for rate in ("copy_bytes_per_s", "float32_operations_per_s", "int8_operations_per_s")
        },
    )


def _copy_ns(size: int, threads: int) -> int:
    """Return the best time of copying `size` bytes, split among `threads`; numpy copies without holding the GIL."""
    import numpy as np  # noqa: PLC0415 - the parent reads cached peaks without numpy

    source, target = np.ones(size, np.uint8), np.empty(size, np.uint8)  # the first copy, untimed, brings in its pages
    cuts = [size * part // threads for part in range(threads + 1)]
    parts = [(target[low:high], source[low:high]) for low, high in pairwise(cuts)]
    if threads == 1:
        return _best_ns(lambda: np.copyto(target, source))
    with ThreadPoolExecutor(threads) as pool:
        return _best_ns(lambda: list(pool.map(lambda pair: np.copyto(*pair), parts)))


def _product_per_s(operator: str, left: str, right: str, product: str, threads: int) -> int:
    """Return the best rate of matrix products through onnxruntime, in operations a second."""
    kinds = (left, right, product)
    return max(_per_s(2 * size**3, _product_ns(operator, size, *kinds, threads=threads)) for size in SIZES)


def _product_ns(operator: str, size: int, left: str, right: str, product: str, *, threads: int) -> int:
    """Return the best time of one matrix product."""
    import numpy as np  # noqa: PLC0415 - as above

    from edge_runtime.session import open_model  # noqa: PLC0415 - only the worker that measures imports onnxruntime

    shape = (size, size)
    content = one_node.model(operator, {"a": (left, shape), "b": (right, shape)}, {"y": (product, shape)})
    with tempfile.TemporaryDirectory(prefix="edge-peaks-") as folder:
        path = Path(folder, "product.onnx")
        path.write_bytes(content)
        session = open_model(path, threads=threads, where=f"the peak of {operator}")
        random = np.random.default_rng(0)
        feeds = {name: random.integers(1, 100, shape).astype(dtype) for name, dtype in (("a", left), ("b", right))}
        return _best_ns(lambda: session.run(None, feeds), SIZES[size])


def _best_ns(step: Callable[[], object], repeats: int = REPEATS) -> int:
    step()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter_ns()
        step()
        times.append(time.perf_counter_ns() - begin)
    return max(1, min(times))


def _per_s(amount: int, ns: int) -> int:
    return max(1, amount * 10**9 // ns)


def _cache_bytes(text: str | None) -> int | None:
    """Return the size that a sysfs cache file tells, as "32768K" (drivers/base/cacheinfo.c)."""
    kib = as_integer(text.removesuffix("K")) if text else None
    return None if kib is None or not 0 < kib < 1 << 30 else kib * 1024
