"""What can go wrong only while an artifact is made.

::

    EdgeError                           exit  leaves here
    ├─ Verdict      the honest answer: no  1  ParityLost
    ├─ InputError   a file we were given   3  SourceError (and of it, SourceLost)
    └─ Unsupported  cannot work here       5  ExportFailed · OpsetUnavailable (both UnsupportedModel)

The branches and the other leaves are `edge_runtime.errors`'.
"""

from edge_runtime.errors import InputError, UnsupportedModel, Verdict


class SourceError(InputError):
    """The source is no model, can't be imported, raises, hangs, crashes, or answers differently at each call."""


class SourceLost(SourceError):
    """The process that held the source died, hung, or spoke garbage."""


class ParityLost(Verdict):
    """The exported model and PyTorch give different answers."""


class ExportFailed(UnsupportedModel):
    """No exporter could turn the module into ONNX."""


class OpsetUnavailable(UnsupportedModel):
    """No exporter writes this module in the opset that was asked for."""
