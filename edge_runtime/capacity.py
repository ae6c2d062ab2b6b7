"""Will it fit? What a model takes is estimated before it is loaded, and held against the limits on this process.

The factors are peaks over the size of the weights, with `SESSION_BYTES` taken off: resident memory that `load` and
the first calls added, measured with onnxruntime 1.32 on x86-64, one thread and two, for stacks of 3x3 convolutions
(4.5, 45 and 90 MiB of weights), of matrix products (16, 64 and 256 MiB) and of LSTMs (64 MiB).

==================================  ============  ============  ====
                                    convolutions  matrices      LSTM
==================================  ============  ============  ====
mapped from the cache               1.0 .. 1.05   1.0 .. 1.24   1.20
optimised here, then cached         2.6 .. 3.2    2.2 .. 2.5    2.46
optimised here, not cached          3.0 .. 3.2    1.2 .. 1.9    1.73
==================================  ============  ============  ====

One layer at a time is packed, beside all weights: a model that is one single matrix takes up to 2.0 mapped, and one
that is a single convolution 4.9 optimised, which no factor tells beforehand. Mapped pages are clean: under pressure
the kernel drops them and reads them again, so the first line is a worst case.
"""

from edge_runtime import graph_cache, session, units
from edge_runtime.artifact import Artifact
from edge_runtime.errors import UnsupportedSystem
from edge_runtime.limits import limits
from edge_runtime.manifest import Port, Variant
from edge_runtime.tree import Tree

MAPPED, OPTIMISED = 125, 320  # hundredths of the weights' size, above the largest that was measured of a stack
SESSION_BYTES = 12 * 2**20  # what a session of a tiny model adds; measured 9 to 11 MiB
PROCESS_BYTES = 52 * 2**20  # Python, numpy, onnxruntime and this package before that, resident; measured 48 to 51 MiB


def process_peak_bytes(weights: int, activations: int) -> int:
    """Return the estimated peak in bytes of a whole process: what a manifest tells as `peak_bytes`."""
    return PROCESS_BYTES + SESSION_BYTES + weights * OPTIMISED // 100 + activations


def need_bytes(artifact: Artifact, variant: Variant, *, cached: bool) -> int:
    """Estimate the peak in bytes that a variant adds to a process.

    Its weights times a measured factor, its inputs and outputs, and the session. A dynamic dimension counts with the
    largest size that was tested. Activations are in it when the manifest tells `peak_bytes`, which is of the reference.
    """
    manifest = artifact.manifest
    ports = (*manifest.inputs, *manifest.outputs)
    activations = (manifest.peak_bytes or 0) - process_peak_bytes(artifact.size_bytes(artifact.variant()), 0)
    data = max(activations, sum(_port_bytes(port, ports) for port in ports))
    return SESSION_BYTES + data + artifact.size_bytes(variant) * (MAPPED if cached else OPTIMISED) // 100


def refuse_too_large(
    artifact: Artifact, variant: Variant, *, cache: bool, limit_bytes: int | None, tree: Tree | None = None
) -> None:
    """Refuse a variant that can't fit.

    limit_bytes: what the caller grants; the estimate is held against it.   tree: tells this process's control group,
    whose limit is certain death when the weights alone are larger, and is believed no further than that.
    Raises UnsupportedSystem.
    """
    where, weights = f"{artifact.path} ({variant.name})", artifact.size_bytes(variant)
    group = limits(tree or Tree()).memory_bytes
    if group is not None and weights > group:
        raise UnsupportedSystem(
            f"the weights alone take {units.size(weights)}, this control group may have {units.size(group)}",
            where,
            "raise the memory limit of the container or service, or use a smaller variant",
        )
    if limit_bytes is None:
        return
    name = session.graph_name(variant) if cache else ""
    cached = bool(name) and graph_cache.contains(name)
    estimate = need_bytes(artifact, variant, cached=cached)
    if estimate > limit_bytes:
        better = (
            "" if cached else ", or make its optimised graph where there is room, for that takes less: edge cache warm"
        )
        raise UnsupportedSystem(
            f"the model takes about {units.size(estimate)}, memory_limit is {units.size(limit_bytes)}",
            where,
            f"raise memory_limit, use a smaller variant{better}",
        )


def _port_bytes(port: Port, ports: tuple[Port, ...]) -> int:
    largest = {name: max(sizes, default=1) for one in ports for name, sizes in one.tested or ()}
    count = session.numpy_dtype(port.dtype).itemsize if port.dtype in session.DTYPES.values() else 0
    for size in port.shape:
        count *= largest.get(size, 1) if isinstance(size, str) else size
    return count
