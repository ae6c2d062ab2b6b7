"""What can go wrong only while an artifact is made.

::

    EdgeError                           exit  leaves here
    ├─ Verdict      the honest answer: no  1  ParityLost
    ├─ InputError   a file we were given   3  SourceError (and of it, SourceLost, and of that OutOfMemory)
    └─ Unsupported  cannot work here       5  ExportFailed (and of it, OperatorUnknown · KernelMissing) ·
                                              OpsetUnavailable · NoWheel

The branches and the other leaves are `edge_runtime.errors`'.
"""

from typing import TYPE_CHECKING

from edge_runtime.errors import InputError, UnsupportedModel, UnsupportedSystem, Verdict

if TYPE_CHECKING:
    from export_tools.verify import Failing


MORE_MEMORY = "close other programs, or export where there is more; a smaller example or --dynamic range needs less"


class SourceError(InputError):
    """The source is no model, can't be imported, raises, hangs, crashes, or answers differently at each call."""


class SourceLost(SourceError):
    """The process that held the source died, hung, or spoke garbage."""


class OutOfMemory(SourceLost):
    """The process that held the source needs more memory than there is."""


class ParityLost(Verdict):
    """The exported model and PyTorch give different answers.

    failing: the case that shows it, and all that was compared, in the process that compared it.
    replay: the command that shows it again, "" where there is none.
    """

    failing: "Failing | None" = None
    replay: str = ""


class ExportFailed(UnsupportedModel):
    """No exporter could turn the module into ONNX."""


class OperatorUnknown(ExportFailed):
    """An exporter has no conversion for an operator that forward calls.

    operator: as the exporter names it.   place: the line of the user's code, ``model.py:12``, where it is known.
    """

    operator: str = ""
    place: str = ""


class KernelMissing(ExportFailed):
    """The target's onnxruntime has no kernel for an operator of the graph."""


class OpsetUnavailable(UnsupportedModel):
    """No exporter writes this module in the opset that was asked for."""


def needs_memory(doing: str, problem: BaseException, where: str) -> OutOfMemory:
    """Return the error for an exception that says, in whatever way, that memory is short."""
    said = " ".join(str(problem).split())[:300] or type(problem).__name__
    return OutOfMemory(f"{doing} needs more memory than there is: {said}", where, MORE_MEMORY)


LEAVE_SHORT_CUT = (
    "torch's transformer takes a short cut there, by the values of its mask: build nn.TransformerEncoder with "
    "enable_nested_tensor=False"
)


def leaves_torch(place: str, where: str) -> ParityLost:
    """Return the error for a forward that hands values of its input to NumPy, at ``model.py:12``, in a traced graph."""
    return ParityLost(
        f"forward depends on input values at {place}: they leave PyTorch there, and a traced graph keeps what came of "
        "the example's",
        where,
        "compute it with torch instead of NumPy or Python there; or, if no output depends on it, say so with "
        "--allow-frozen-branch",
    )


class NoWheel(UnsupportedSystem):
    """This Python has no wheel of the onnxruntime that was asked for."""


def depends_on_values(place: str, where: str, case: str = "", *, nested: bool = False) -> ParityLost:
    """Return the error for a forward whose path depends on the values of its input, at ``model.py:12``.

    nested: it goes through nested tensors, which torch's own layers make of a mask.
    """
    told = f": the case {case} takes another path than the example" if case else ""
    remedy = (
        LEAVE_SHORT_CUT
        if nested
        else "make both paths part of the graph there, with torch.where or torch.cond instead of Python's if"
    )
    return ParityLost(
        f"forward depends on input values at {place}{told}",
        where,
        f"{remedy}; or export the example's path alone with --allow-frozen-branch",
    )
