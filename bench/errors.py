"""What can go wrong only while contenders are compared.

::

    EdgeError                           exit  leaves here
    ├─ UsageError   wrong flag or value    2  UnknownContender · UnknownBoard · SourceUnknown · ReportTooLarge
    │                                      NotComparable
    └─ InputError   a file we were given   3  SourceDiffers · BudgetError · NothingMatched · NoHistory

The branches and the other leaves are `edge_runtime.errors`'.
"""

from edge_runtime.errors import InputError, UsageError


class UnknownContender(UsageError):
    """Nothing that can be measured has this name."""


class UnknownBoard(UsageError):
    """No board of this name can be reached."""


class SourceUnknown(UsageError):
    """PyTorch was asked for, and neither flags nor this host's memory say where the module is."""


class SourceDiffers(InputError):
    """The module given for PyTorch is not the one the artifact was exported from."""


class ReportTooLarge(UsageError):
    """The page of so many records would be larger than a page may be."""


class BudgetError(InputError):
    """The budget file is not one."""


class NothingMatched(InputError):
    """No budget is about anything in the records."""


class NoHistory(InputError):
    """No record of that artifact is where it was looked for."""


class NotComparable(UsageError):
    """Two records were taken in ways that differ, and nobody said that this is meant."""
