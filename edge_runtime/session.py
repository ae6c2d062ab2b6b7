"""The inference door: the only module that imports onnxruntime. Sessions, their options, and every error translated.

`model` and `bound_call` build on it.
"""

import ctypes
import os
import re
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

# onnxruntime's wheels tell their maker of each start, and leave an id in the temporary folder, unless told not to
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime  # reads the variable once, here
from onnxruntime.capi import onnxruntime_pybind11_state as capi

from edge_runtime import graph_cache, trust
from edge_runtime.artifact import Artifact
from edge_runtime.errors import (
    EdgeError,
    InvalidModel,
    ManifestError,
    UnsupportedModel,
    UnsupportedSystem,
    WrongInput,
    out_of_memory,
    short_of_memory,
)
from edge_runtime.manifest import Port, Variant
from edge_runtime.npz import Array

ENGINE = f"onnxruntime {onnxruntime.__version__}"
_BUILD = f"{ENGINE} {onnxruntime.get_build_info()}"

# ONNX tensor types that numpy holds natively, as onnxruntime spells them
DTYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}
STRING = "string"  # numpy holds these as objects; they can't be bound

Session: TypeAlias = onnxruntime.InferenceSession

# The CPU provider runs in the caller's thread of control and has nothing to wait for, yet onnxruntime synchronises
# after each run unless told otherwise. Source: onnxruntime_run_options_config_keys.h
_RUN_OPTIONS = onnxruntime.RunOptions()
_RUN_OPTIONS.add_run_config_entry("disable_synchronize_execution_providers", "1")

# The same, and afterwards the arena goes back to the system. It beats having no arena, whose blocks come from malloc
# and stay in its free lists: a ResNet-18 then held 11 to 25 MiB of its own in steady state, against 11 with the arena
# and 8 with the arena given back.
_FRUGAL_RUN_OPTIONS = onnxruntime.RunOptions()
_FRUGAL_RUN_OPTIONS.add_run_config_entry("disable_synchronize_execution_providers", "1")
_FRUGAL_RUN_OPTIONS.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

CPU = onnxruntime.OrtDevice.make("cpu", 0)._get_c_device()  # noqa: SLF001 - what the binding's own methods take

# By preset: (the arena is kept between calls, threads spin while they wait)
PRESETS = {"latency": (True, True), "balanced": (True, False), "memory": (False, False)}
_frugal: "weakref.WeakSet[Session]" = weakref.WeakSet()  # a session has no place of its own for it

# What decides the content of an optimised graph beyond the model, the engine and the CPU
_GRAPH_OPTIONS = {"level": "all", "format": "onnx"}

# Smaller weights stay in the graph, where shape inference can read them: it looks into no other file
_LEAST_BYTES_BESIDE = 1024


def open_variant(
    artifact: Artifact,
    variant: Variant,
    *,
    threads: int,
    preset: str = "balanced",
    cache: bool = True,
    warn: Callable[[str], None] = lambda _: None,
) -> Session:
    """Open a variant: from this machine's optimised graph when there is one, else from the model, which then makes it.

    Every file is hashed in full at its first load in a boot, and trusted by its stat record later.
    Raises ManifestError, HashMismatch, InvalidModel, UnsupportedModel, or UnsupportedSystem when memory is short.
    """
    where = f"{artifact.path} ({variant.name})"
    artifact.verify_variant(variant, hash_file=_hash_once_a_boot)

    def open_file(path: Path, *, optimised: bool = False, save: tuple[Path, str] | None = None) -> Session:
        return open_model(path, threads=threads, where=where, preset=preset, optimised=optimised, save_optimised=save)

    def open_cached(path: Path) -> Session | None:
        try:
            session = open_file(path, optimised=True)
            # its hash is the one in its note, but the two may have been brought here together
            match_ports(session, artifact.manifest.inputs, artifact.manifest.outputs, str(path))
        except UnsupportedSystem:  # short of memory: no fault of the entry
            raise
        except ManifestError:
            # the entry is another model's, or the manifest lies: the model itself knows
            match_ports(open_file(model), artifact.manifest.inputs, artifact.manifest.outputs, where)
            warn(f"a cached graph is of another model and is made anew ({path})")
            graph_cache.remove(name)
            return None
        except EdgeError as problem:
            warn(f"a cached graph can't be used and is made anew: {problem.what} ({path})")
            graph_cache.remove(name)
            return None
        return session

    def make(path: Path, weights: str) -> None:
        # this session ends at once: one that maps the file holds half of its memory
        open_file(model, save=(path, weights))
        give_back_freed_memory()

    model = artifact.model_path(variant)
    name = graph_name(variant, warn=warn) if cache else ""
    if not name:
        return open_file(model)
    found = graph_cache.find(name, warn=warn)
    session = open_cached(found) if found else None
    if session:
        return session
    try:
        made = graph_cache.fill(name, model=where, make=make, warn=warn)
    except (InvalidModel, UnsupportedSystem) as problem:
        # raises the same again, unless the disk refused, or memory sufficed for the model and not for both
        session = open_file(model)
        warn(f"the optimised graph can't be cached, so each start optimises anew: {problem.what}")
        return session
    return (open_cached(made) if made else None) or open_file(model)


def give_back_freed_memory() -> None:
    """Return what sessions that have ended held to the system, where the allocator can."""
    # glibc keeps freed blocks of up to 32 MiB: without this a model of 256 MiB held as much again after its first load
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def graph_name(variant: Variant, *, warn: Callable[[str], None] = lambda _: None) -> str:
    """Return the name under which the cache holds a variant's optimised graph; empty when it can't hold it."""
    # weights in files of their own are mapped by onnxruntime as they are
    if len(variant.files) > 1 or not graph_cache.limit_bytes(warn=warn):
        return ""
    return graph_cache.key(variant.files[0].sha256, engine=_BUILD, options=_GRAPH_OPTIONS)


def _hash_once_a_boot(path: Path) -> str:
    digest, _ = trust.sha256(path, folder=graph_cache.trust_folder(), error=ManifestError)
    return digest


def open_model(
    path: Path,
    *,
    threads: int,
    where: str,
    preset: str = "balanced",
    profile_prefix: Path | None = None,
    prepack: bool = True,
    optimised: bool = False,
    save_optimised: tuple[Path, str] | None = None,
) -> Session:
    """Open one ONNX file on the CPU provider, sequentially, with `threads` intra-op threads.

    where: what errors call it.   preset: see PRESETS.   profile_prefix: how the path of onnxruntime's own profile
    begins; it is written by ``end_profiling()``.   prepack=False keeps the weights' shapes in that profile, at the
    price of slow kernels.   optimised: the file was optimised on this machine, and is taken as it is.
    save_optimised: also write the optimised graph to this path, and its weights to the file of this name beside it.
    Raises InvalidModel or UnsupportedModel.
    """
    keeps_arena, spinning = PRESETS[preset]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: everything else reaches the user as one of our errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    if optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save_optimised is not None:
        graph, weights = save_optimised
        options.optimized_model_filepath = os.fspath(graph)
        beside = "session.optimized_model_external_initializers"
        options.add_session_config_entry(f"{beside}_file_name", weights)
        options.add_session_config_entry(f"{beside}_min_size_in_bytes", str(_LEAST_BYTES_BESIDE))
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = os.fspath(profile_prefix)
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        # its own fallback prints a banner on stdout and tries the very same again
        session = onnxruntime.InferenceSession(
            os.fspath(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as problem:
        known = translated(problem, where, "export the artifact again")
        if known is None:
            raise
        if isinstance(known, WrongInput):
            # at load time there are no inputs yet: what onnxruntime calls an argument is the file
            known = InvalidModel(known.what.replace("the inputs", "the file", 1), where, known.hint)
        raise known from problem
    if not keeps_arena:
        _frugal.add(session)
    return session


def run_options(session: Session) -> onnxruntime.RunOptions:
    """Return what every run of this session is given; it depends on the preset it was opened with."""
    return _FRUGAL_RUN_OPTIONS if session in _frugal else _RUN_OPTIONS


def run(session: Session, names: list[str], inputs: Mapping[str, Array]) -> list[Array]:
    """Run once, without the public wrapper's second check of what was checked; raises onnxruntime's own errors."""
    answers: list[Array] = session._sess.run(names, inputs, run_options(session))  # noqa: SLF001 - as said
    return answers


def bound_run(session: Session) -> tuple[Callable[..., None], Any]:
    """Return the engine's own bound run, and a new binding for it; the binding keeps the session alive."""
    return session._sess.run_with_iobinding, session.io_binding()._iobinding  # noqa: SLF001 - as `run`


def keep_for_ever(owner: object) -> None:
    """Never free what holds a session, not even at exit: for a forked child alone.

    The session's threads did not come along, and its destructor waits for them without end.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return numpy's dtype for a port's."""
    return np.dtype(object if name == STRING else name)


def refuse(problem: Exception, where: str, hint: str = "") -> NoReturn:
    """Raise our error for an exception of onnxruntime; raise it as it is when it is not one of its own."""
    known = problem if isinstance(problem, EdgeError) else translated(problem, where, hint)
    if known is None or known is problem:
        raise problem
    raise known from problem


def refuse_newer(wanted: str, where: str) -> None:
    """Raise UnsupportedSystem when an artifact asks for a newer onnxruntime than this machine has."""
    here = onnxruntime.__version__
    if _release(wanted) > _release(here):
        raise UnsupportedSystem(
            f"the artifact needs onnxruntime {wanted} or newer, this machine has {here}",
            where,
            f"install onnxruntime>={wanted}, or export again with a lower --opset",
        )


def translated(problem: Exception, where: str, hint: str = "") -> EdgeError | None:  # noqa: PLR0911 - one a cause
    """Return our error for an exception of onnxruntime, or None when it is not one of its own.

    hint: what the caller knows of a likelier cause than we do.
    """
    message = " ".join(str(problem).split())[:1000]
    if short_of_memory(problem):
        return out_of_memory(problem, where)
    if isinstance(problem, UnicodeDecodeError):  # raised by its binding, for whatever it was about to say
        return InvalidModel("not a valid ONNX model: a name in it is no UTF-8", where, "export the artifact again")
    if isinstance(problem, capi.NotImplemented):
        return UnsupportedModel(
            f"an operator has no CPU kernel: {message}", where, "export with another --opset or --exporter"
        )
    newer = (
        "Unsupported model IR version",
        "is under development and support for this is limited",
        "is till opset",
    )
    if any(phrase in message for phrase in newer):
        upgrade = f"install a newer onnxruntime (here: {onnxruntime.__version__}), or export with a lower --opset"
        return UnsupportedModel(f"the model is newer than this onnxruntime: {message}", where, upgrade)
    failed = _failed_node(message)
    bound = message.startswith("Error in execution")  # a bound run has no exception class of its own
    message = _in_short(message)
    if isinstance(problem, capi.InvalidArgument) and not failed:
        return WrongInput(f"onnxruntime refused the inputs: {message}", where, hint or "compare them with: edge info")
    if isinstance(problem, capi.InvalidProtobuf | capi.InvalidGraph | capi.NoSuchFile | capi.NoModel):
        return InvalidModel(f"not a valid ONNX model: {message}", where, "export the artifact again")
    if isinstance(problem, ONNXRUNTIME_ERRORS) or bound:
        what = f"node {failed} failed" if failed else "onnxruntime failed"
        return InvalidModel(f"{what}: {message}", where, hint or "run: edge check; if it passes, the input is to blame")
    return None


def _failed_node(message: str) -> str:
    # it writes: Non-zero status code returned while running Reshape node. Name:'/head/Reshape' Status Message: ...
    found = re.search(r"while running (\S+) node\. Name:'(.*?)' ", message)
    return f'"{found[2]}" ({found[1]})' if found else ""


def _in_short(message: str) -> str:
    """Return what an error says without where in onnxruntime's own source it was noticed."""
    message = re.sub(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", message)
    message = message.rpartition(" Status Message: ")[2]
    place = r"\S+\.(?:h|cc|cpp):\d+ (?:(?:[\w:<>&*~]+ )*[\w:<>~]+\([^()]*\)(?: const)? )?"
    return re.sub(place, "", message)[:600]


# every exception class of onnxruntime's binding; a test fails when a release brings one that is not here
ONNXRUNTIME_ERRORS: tuple[type[Exception], ...] = (
    capi.EPFail,
    capi.EngineError,
    capi.Fail,
    capi.InvalidArgument,
    capi.InvalidGraph,
    capi.InvalidProtobuf,
    capi.ModelLoaded,
    capi.NoModel,
    capi.NoSuchFile,
    capi.NotImplemented,
    capi.RuntimeException,
    *(
        getattr(capi, name)  # younger than the oldest onnxruntime we take
        for name in ("DeviceReset", "ModelLoadCanceled", "ModelRequiresCompilation", "NotFound")
        if hasattr(capi, name)
    ),
)


def _release(version: str) -> tuple[int, ...]:
    # a development build ("1.33.0.dev2026") counts as its release: it can run at least what the one before could
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


class _Node(NamedTuple):
    type: str
    shape: tuple[int | str | None, ...]


def match_ports(session: Session, inputs: tuple[Port, ...], outputs: tuple[Port, ...], where: str) -> None:
    """Refuse a manifest that describes another model than the file holds: bound buffers rely on it."""
    for what, ports, nodes in (("input", inputs, session.get_inputs), ("output", outputs, session.get_outputs)):
        try:
            found = {node.name: _Node(node.type, tuple(node.shape)) for node in nodes()}
        except UnicodeDecodeError as problem:
            refuse(problem, where)
        if set(found) != {port.name for port in ports}:
            names = f"{sorted(found)}, the manifest says {sorted(port.name for port in ports)}"
            raise ManifestError(f"the model's {what}s are {names}", where, "export the artifact again")
        for port in ports:
            node = found[port.name]
            dtype = DTYPES.get(node.type)
            if dtype is None:
                raise UnsupportedModel(
                    f'{what} "{port.name}" is a {node.type}, which is not supported yet',
                    where,
                    "cast it inside the model",
                )
            fixed = [
                (mine, theirs) for mine, theirs in zip(port.shape, node.shape, strict=False) if isinstance(theirs, int)
            ]
            if (
                dtype != port.dtype
                or len(node.shape) != len(port.shape)
                or any(mine != theirs for mine, theirs in fixed)
            ):
                told = f"{dtype}[{', '.join(map(str, node.shape))}], the manifest says {port}"
                raise ManifestError(f'{what} "{port.name}" is {told}', where, "export the artifact again")
