"""Every failure we can explain, and the exit code each one ends with.

::

    EdgeError                           exit  transient   leaves
    ├─ Verdict      the honest answer: no  1     no       SelfCheckFailed
    ├─ UsageError   wrong flag or value    2     no       OutputExists · ConcurrentUse
    ├─ InputError   a file we were given   3     no       ManifestError · HashMismatch · RecordError · WrongInput ·
    │                                                     InvalidModel · NonFiniteOutput · Unwritable
    ├─ BoardError   we could not ask it    4     yes      WorkerLost · TimedOut
    └─ Unsupported  cannot work here       5     no       UnsupportedModel · UnsupportedSystem
                                           0 = yes, 70 = our bug (traceback kept), 130 = interrupted

The host packages add leaves of their own (`export_tools.errors`). Each error has three parts: what happened,
where, and what to do about it.
"""

from typing import Any, ClassVar

INTERRUPTED = 130  # 128 + SIGINT, as shells say of it


class EdgeError(Exception):
    """Anything we can explain to the person at the keyboard.

    >>> import edge_runtime
    >>> try:
    ...     edge_runtime.load("absent.edge")
    ... except edge_runtime.EdgeError as error:
    ...     print(error.what, error.where, error.exit_code, sep=" | ")
    no such artifact | absent.edge | 3
    """

    exit_code: ClassVar[int]
    transient: ClassVar[bool] = False

    def __init__(self, what: str, where: str, hint: str) -> None:
        super().__init__(what, where, hint)  # all three in args, so the error survives pickling
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        return f"{self.what} – {self.where} – {self.hint}"


class Verdict(EdgeError):
    """The work was done and the honest answer is no."""

    exit_code = 1


class SelfCheckFailed(Verdict):
    """A golden case gave another answer on this machine than when the artifact was made."""


class UsageError(EdgeError):
    """A wrong flag, value or combination."""

    exit_code = 2


class OutputExists(UsageError):
    """The place to write to is taken; nothing is overwritten without being told to."""


class ConcurrentUse(UsageError):
    """Two threads were in one bound call, whose buffers belong to one at a time."""


class InputError(EdgeError):
    """A file or value we were given is not what it has to be."""

    exit_code = 3


class ManifestError(InputError):
    """An artifact's manifest is missing, malformed, or describes something that is not there."""


class HashMismatch(InputError):
    """A file's bytes are not those its manifest promises."""


class RecordError(InputError):
    """A measurement record can't be read or makes no sense."""


class WrongInput(InputError):
    """A tensor (or the file holding it) doesn't fit what the model takes."""


class InvalidModel(InputError):
    """The ONNX file itself is broken, or fails while it runs."""


class NonFiniteOutput(InputError):
    """An answer holds NaN or infinity, and the caller had asked to be told."""


class Unwritable(InputError):
    """The file system refused to take what we had to write."""


class BoardError(EdgeError):
    """The machine that should do the work could not be asked."""

    exit_code = 4
    transient = True


class WorkerLost(BoardError):
    """A worker process ended, or spoke garbage, before its work was done."""


class TimedOut(BoardError):
    """No answer within the deadline."""


class Unsupported(EdgeError):
    """It can't work here, whatever is retried."""

    exit_code = 5


class UnsupportedModel(Unsupported):
    """The model needs an operator, opset, IR version or dtype that this runtime lacks."""


class UnsupportedSystem(Unsupported):
    """This machine, Python or library can't serve."""


def to_document(error: EdgeError) -> dict[str, Any]:
    """Return the error as the JSON document that crosses process borders and answers ``--json``."""
    return {
        "kind": "edge-error",
        "schema": 1,
        "code": type(error).__name__,
        "exit": error.exit_code,
        "what": error.what,
        "where": error.where,
        "hint": error.hint,
        "transient": error.transient,
    }


def from_document(document: dict[str, Any]) -> EdgeError:
    """Return the error a worker reported, as the same class when this process knows it.

    The document comes from another process and is not trusted: whatever has the wrong type becomes text, and an
    unknown class becomes the branch of the tree with the same exit code, else a `WorkerLost`.
    """
    known = {cls.__name__: cls for cls in _descendants(EdgeError)}
    branches = {1: Verdict, 2: UsageError, 3: InputError, 4: BoardError, 5: Unsupported}
    cls = known.get(str(document.get("code")))
    if cls is None:
        code = document.get("exit")
        cls = branches.get(code, WorkerLost) if isinstance(code, int) else WorkerLost
    return cls(*(str(document.get(part, "unknown"))[:4000] for part in ("what", "where", "hint")))


def _descendants(cls: type[EdgeError]) -> list[type[EdgeError]]:
    return [found for child in cls.__subclasses__() for found in (child, *_descendants(child))]


# How kernels, loaders, allocators, thread pools and Python say that memory is short; they share no class
OUT_OF_MEMORY = (
    "bad_alloc",
    "bad allocation",
    "can't start new thread",
    "failed to allocate memory",
    "memory allocation still failed",  # numpy's OpenBLAS
    "cannot allocate memory",
    "failed to map segment from shared object",
    "resource temporarily unavailable",
    "systemerror : 12",  # how onnxruntime tells ENOMEM of mmap
)


def short_of_memory(problem: BaseException) -> bool:
    """Return whether an exception says, in any of the ways there are, that memory is short."""
    message = str(problem).lower()
    return isinstance(problem, MemoryError) or any(phrase in message for phrase in OUT_OF_MEMORY)


def out_of_memory(problem: BaseException, where: str) -> UnsupportedSystem:
    """Return our error for an exception that says that memory is short."""
    # numpy wraps the one telling line in a page of advice on how to install it
    lines = [line for line in str(problem).splitlines() if any(phrase in line.lower() for phrase in OUT_OF_MEMORY)]
    # onnxruntime puts the C++ signature of the function that failed before its words
    line = lines[0] if lines else str(problem)
    told = (line if isinstance(problem, MemoryError) else line.rpartition(") ")[2]).strip()[:300]
    hint = "use a smaller variant or input, fewer threads, preset='memory', or give the process more memory"
    return UnsupportedSystem(f"not enough memory: {told or 'an allocation failed'}", where, hint)
