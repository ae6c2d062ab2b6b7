"""What onnxruntime's kernels may do to a module's answers beyond float32's own rounding: each operator a little off.

Some of its kernels are right to a part of the largest value they can have, not of the value they give: its sigmoid of
-11 is off by 5e-8 where the answer is 1.7e-5, in every build and on every machine. PyTorch's own float32 and float64
show nothing of that, and how much of it reaches an output depends on all that comes after. So the float64 copy runs
once more with each such operator's result moved by as much, up or down at random, and the distance of its answers is
noise too. The method is Monte Carlo arithmetic (Parker, 1997), on operators in the place of operations. A torch door.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from export_tools import reduction_noise
from export_tools.dispatch_mode import DispatchMode
from export_tools.op_trace import named_arguments

# Half of the largest error against float64 that onnxruntime 1.32 shows on x86-64 over a dense grid of -30..30; `noise`
# grants sixteen times what comes of it, which is eight times the largest error
SIGMOID = 0.8e-7  # of 1, whatever the answer
TANH = 1.5e-7  # of the answer
EXPONENTIAL = 0.4e-7  # of 1: exp(x) - 1 near 0, where it cancels

Rule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # what it was given, what it gave: the noise


def _of_one(share: float) -> Rule:
    return lambda _given, gave: torch.full_like(gave, share)


def _gated(given: torch.Tensor, gave: torch.Tensor) -> torch.Tensor:
    """Return the noise of a product with a sigmoid; where a tensor is split in two, the first half is multiplied."""
    if given.shape == gave.shape:
        return given.abs() * SIGMOID
    axis = next(axis for axis, (a, b) in enumerate(zip(given.shape, gave.shape, strict=True)) if a != b)
    return given.narrow(axis, 0, gave.shape[axis]).abs() * SIGMOID


RULES: Mapping[str, Rule] = {
    "sigmoid": _of_one(SIGMOID),
    "silu": _gated,
    "glu": _gated,
    "tanh": lambda _given, gave: gave.abs() * TANH,
    "elu": _of_one(EXPONENTIAL),
    "selu": _of_one(EXPONENTIAL),
    "celu": _of_one(EXPONENTIAL),
    "gelu": _of_one(EXPONENTIAL),
}


class KernelNoise(DispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Moves results while it is entered, the same way each time. met: whether there was any that it moves.

    ``torch.cond`` passes as it is, and what its branch runs is met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = False
        self._random = torch.Generator().manual_seed(0)

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as `DispatchMode.operator`
        """Return what an operator gives, moved by what onnxruntime's kernel may be off."""
        packet = getattr(func, "overloadpacket", None)
        name = str(getattr(packet, "__name__", "")).removesuffix("_")
        if name in reduction_noise.RULES:
            return self._summed(name, func, args, kwargs)
        rule = RULES.get(name)
        # in place, what it was given is gone afterwards
        given = args[0].clone() if rule is not None and args and isinstance(args[0], torch.Tensor) else None
        found = func(*args, **kwargs)
        if rule is None or given is None or not isinstance(found, torch.Tensor) or not found.is_floating_point():
            return found
        self.met = True
        return found.add_(rule(given, found) * self._sign(found))

    def _summed(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as above
        found = func(*args, **kwargs)
        move = reduction_noise.moved(name, named_arguments(func, args, kwargs), found)
        if move is not None:
            self.met = True
            result, noise = move
            # a spread is never less than the none that PyTorch sees
            result.add_(noise if name in {"std", "var"} else noise * self._sign(result))
        return found

    def _sign(self, found: torch.Tensor) -> torch.Tensor:
        return torch.randint(0, 2, found.shape, generator=self._random, dtype=found.dtype) * 2 - 1


def deviation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return how far apart two answers are, element by element, in float64; nothing where they are no numbers."""
    if not one.is_floating_point() or one.shape != other.shape:
        return torch.zeros(one.shape, dtype=torch.float64)
    return (one.double() - other.double()).abs().nan_to_num(0.0, 0.0, 0.0)
