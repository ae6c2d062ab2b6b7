"""Values that a forward hands to NumPy, Python or C code by its memory, where no exporter can follow. A torch door.

What becomes of them there (a number to decide by, a table to look up) is a constant in a traced graph. The TorchScript
tracer does not mind; whether it matters is seen by whether the values differ from one input to the next.
"""

import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from export_tools.op_trace import Operation, place_of_frame

LEAVING = (
    torch.Tensor.numpy,
    torch.Tensor.__array__,
    torch.Tensor.tolist,
    torch.Tensor.data_ptr,
    torch.Tensor.__dlpack__,
)


@dataclass(frozen=True, slots=True)
class Escape:
    """One tensor that became an array, a list or an address, at ``model.py:12``. digest: of its values."""

    place: str
    digest: int


class Escapes(TorchFunctionMode):
    """Records what leaves torch while it is entered.

    operations: a trace of the same run; what leaves is put among them as what may decide the path from there on.
    """

    def __init__(self, operations: list[Operation] | None = None) -> None:
        super().__init__()
        self.found: list[Escape] = []
        self._operations = operations

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - a function of torch, and whatever it takes and gives
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - as above
        given = func(*args, **(kwargs or {}))
        if func in LEAVING:
            place = place_of_frame(sys._getframe(1))  # noqa: SLF001 - as in `op_trace`
            self.found.append(Escape(place, _digest(args[0])))
            if self._operations is not None:
                self._operations.append(Operation(f"python.{func.__name__}", place, reads=True))
        return given


def departure(one: Sequence[Escape], other: Sequence[Escape]) -> str | None:
    """Return the first place where two inputs let different values out, or None where only constants leave."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            return a.place
    longer = one if len(one) > len(other) else other
    return longer[min(len(one), len(other))].place if len(one) != len(other) else None


def _digest(tensor: torch.Tensor) -> int:
    return zlib.crc32(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
