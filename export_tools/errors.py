"""What can go wrong only while an artifact is made.

::

    EdgeError                           exit  leaves here
    ├─ Verdict      the honest answer: no  1  ParityLost
    ├─ InputError   a file we were given   3  SourceError (and of it, SourceLost)
    └─ Unsupported  cannot work here       5  ExportFailed · OpsetUnavailable (both UnsupportedModel)

The branches and the other leaves are `edge_runtime.errors`'.
"""

from typing import TYPE_CHECKING

from edge_runtime.errors import InputError, UnsupportedModel, Verdict

if TYPE_CHECKING:
    from export_tools.verify import Failing


class SourceError(InputError):
    """The source is no model, can't be imported, raises, hangs, crashes, or answers differently at each call."""


class SourceLost(SourceError):
    """The process that held the source died, hung, or spoke garbage."""


class ParityLost(Verdict):
    """The exported model and PyTorch give different answers.

    failing: the case that shows it, and all that was compared, in the process that compared it.
    """

    failing: "Failing | None" = None


class ExportFailed(UnsupportedModel):
    """No exporter could turn the module into ONNX."""


class OpsetUnavailable(UnsupportedModel):
    """No exporter writes this module in the opset that was asked for."""


def depends_on_values(place: str, where: str, case: str = "") -> ParityLost:
    """Return the error for a forward whose path depends on the values of its input, at ``model.py:12``."""
    told = f": the case {case} takes another path than the example" if case else ""
    return ParityLost(
        f"forward depends on input values at {place}{told}",
        where,
        "make both paths part of the graph there, with torch.where or torch.cond instead of Python's if; or export the "
        "example's path alone with --allow-frozen-branch",
    )
