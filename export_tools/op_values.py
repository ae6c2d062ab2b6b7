"""What flows through a forward: the fingerprint of every operator's results, and which came of which. A torch door."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.weak import WeakIdKeyDictionary

from export_tools.fingerprint import Fingerprint, fingerprint
from export_tools.op_trace import Call, OpTrace

MAX_VALUES = 4096  # 40 MB of fingerprints; a network of more operators is looked at from its beginning


@dataclass(frozen=True, slots=True)
class Value:
    """One result of one operator. parents: the values it came of, -1 for an input of the model.

    low, high: the range of what the operator was given, of that which depends on the input.
    """

    kind: str
    place: str
    parents: tuple[int, ...]
    low: float
    high: float
    print: Fingerprint

    def to_document(self) -> dict[str, Any]:
        """Return all but the fingerprint's arrays."""
        return {
            "kind": self.kind,
            "place": self.place,
            "parents": list(self.parents),
            "low": self.low,
            "high": self.high,
            "shape": list(self.print.shape),
        }


def watched(
    run: Callable[[list[torch.Tensor]], Sequence[torch.Tensor]], inputs: Sequence[torch.Tensor]
) -> tuple[list[Value], list[int | None]]:
    """Run a forward on some inputs; return the values that depend on them, and which of them each output is."""
    values: list[Value] = []
    made: Any = WeakIdKeyDictionary()  # a tensor's place among the values; it must not keep the tensor alive
    for tensor in inputs:
        made[tensor] = -1
    written: dict[
        int, tuple[int, torch.Tensor]
    ] = {}  # by storage: an operator in place changes views that it never saw

    def origins(tensor: torch.Tensor) -> set[int]:
        found = {made[tensor]} if tensor in made else set()
        last = written.get(_storage(tensor))
        return found | ({last[0]} if last is not None else set())

    def seen(call: Call) -> None:
        parents = {origin for tensor in call.given for origin in origins(tensor)}
        if not parents or len(values) >= MAX_VALUES:
            return
        low, high = _range([tensor for tensor in call.given if origins(tensor)])
        for tensor in (one for one in call.results if one.numel()):
            changed = any(tensor is one for one in call.given)
            made[tensor] = len(values)
            if changed:
                written[_storage(tensor)] = (len(values), tensor)
            values.append(
                Value(
                    call.operation.kind,
                    call.operation.place,
                    tuple(sorted(parents)),
                    low,
                    high,
                    fingerprint(_array(tensor)),
                )
            )

    with OpTrace(seen):
        outputs = run(list(inputs))
    return values, [max(origins(output), default=None) for output in outputs]


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.numel() else 0


def _array(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    plain = tensor.detach()
    wide = plain.double() if plain.is_floating_point() else plain
    return np.asarray(wide.cpu().numpy())


def _range(tensors: Sequence[torch.Tensor]) -> tuple[float, float]:
    ends = [(float(t.min()), float(t.max())) for t in map(_double, tensors) if t.numel()]
    return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)


def _double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().double()
