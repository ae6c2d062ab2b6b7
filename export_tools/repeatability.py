"""Does forward answer the same to the same? Random operators, state that it keeps, inputs that it writes to.

An artifact is a function of its inputs. What a module does beside that must be found before it is exported, and by
what it does, not by how far the answers are apart: noise may be smaller than any tolerance. A torch door.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from export_tools.errors import SourceError
from export_tools.kept_state import changes, is_registered, kept
from export_tools.op_trace import UNKNOWN, Call, Operation, OpTrace

SAME_ANSWER = 1e-5  # of the largest value: far above what a thread's timing moves, far below what dropout does
NAMED = 3
_FILLS = (float("nan"), float("inf"), float("-inf"))  # the infinities: a comparison with NaN is false, always
Run = Callable[[list[torch.Tensor]], list[torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Repeated:
    """The answers to the example. notes: what people should know of how forward treats it."""

    outputs: list[torch.Tensor]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Seen:
    """What is kept of the operators of one run. Not their tensors, which would be all that flows through forward."""

    drawing: list[Operation] = field(default_factory=list)
    integers: bool = False
    widening: str | None = None

    def look(self, call: Call) -> None:
        if draws(call):
            self.drawing.append(call.operation)
            self.integers |= any(not result.is_floating_point() for result in call.results)
        narrow = [one.dtype for one in call.given if one.is_floating_point() and one.dtype != torch.float64]
        meets = narrow and any(one.dtype == torch.float64 for one in call.given)
        if self.widening is None and meets and any(result.dtype == torch.float64 for result in call.results):
            name = str(narrow[0]).removeprefix("torch.")
            self.widening = f"a float64 constant meets {name} at {call.operation.place}, and what follows is float64"


@dataclass(frozen=True, slots=True)
class Forward:
    """A module's forward on its example. run: takes tensors that it may write to.   module: the user's own."""

    run: Run
    module: torch.nn.Module
    example: Sequence[torch.Tensor]
    where: str

    def repeated(self, names: Sequence[str]) -> Repeated:
        """Call forward with the example twice; the answers must be the same, and nothing in between another.

        Raises SourceError, naming the operator and line that draws numbers, or what changes between the calls.
        """
        given = _clones(self.example)
        first = _clones(self.run(given))
        notes = [
            f"forward writes to its input {name}; the artifact leaves what it is given as it is"
            for name, tensor, before in zip(names, given, self.example, strict=True)
            if not torch.equal(tensor, before)
        ]
        between, drawn, seen = kept(self.module), _numbers_drawn(), _Seen()
        try:
            with OpTrace(seen.look):
                second = _clones(self.run(_clones(self.example)))
        except SourceError:  # it ran a moment ago: something in it can't be watched
            seen, second = _Seen(), _clones(self.run(_clones(self.example)))
        changed = changes(between, kept(self.module))
        self._refuse_live(second, seen)
        if len(first) != len(second) or not all(same(*pair) for pair in zip(first, second, strict=True)):
            raise _differs(shown_difference(first, second), changed, self.where, by_python=_numbers_drawn() != drawn)
        registered = [one for one in changed if is_registered(one)]
        if registered:
            raise keeps_state(registered, "the answers to the example are the same this time", self.where)
        if seen.widening:
            notes.append(f"{seen.widening}: was it meant?")
        if _numbers_drawn() != drawn:
            # no error: layer dropping draws in eval mode too, and then asks whether it is training
            notes.append(
                "forward draws numbers by Python's random or numpy.random, and is exported as if they decided nothing"
            )
        return Repeated(second, tuple(notes))

    def refuse_random(self) -> None:
        """Raise SourceError when forward draws numbers that reach its answers: for another dtype than `repeated` saw.

        What can't run, or not be watched, is no matter here.
        """
        seen = _Seen()
        try:
            with OpTrace(seen.look):
                outputs = _clones(self.run(_clones(self.example)))
        except SourceError:
            return
        self._refuse_live(outputs, seen)

    def _refuse_live(self, answers: list[torch.Tensor], seen: _Seen) -> None:
        """Raise SourceError unless the answers stay what they are, to the bit, whatever numbers are drawn."""
        if not seen.drawing:
            return
        if not seen.integers and all(self._reaches_nothing(answers, fill, len(seen.drawing)) for fill in _FILLS):
            return
        first = seen.drawing[0]
        training = [
            f"{name or 'the module'} ({type(part).__name__})"
            for name, part in self.module.named_modules()
            if part.training
        ]
        if training:
            hint = f"after eval() still in training mode: {', '.join(training[:NAMED])}; let eval() reach it"
        elif first.place == UNKNOWN:
            hint = "it is part of the saved program: save it again, of the module after eval()"
        elif any(word in first.kind for word in ("dropout", "bernoulli")):
            hint = "dropout is on there: use nn.Dropout, which eval() switches off, or training=self.training"
        else:
            hint = "leave it out in eval mode (if self.training:), or make the random numbers an input of forward"
        place = "" if first.place == UNKNOWN else f" at {first.place}"
        raise SourceError(f"forward draws random numbers{place}, by {first.kind}", self.where, hint)

    def _reaches_nothing(self, answers: list[torch.Tensor], fill: float, count: int) -> bool:
        filled = 0

        def replace(call: Call) -> None:
            nonlocal filled
            if draws(call):
                filled += len([result.fill_(fill) for result in call.results])
                if filled > 4 * count + 100:
                    raise RuntimeError("it draws until it likes what it gets")

        try:
            with OpTrace(replace):
                found = self.run(_clones(self.example))
        except SourceError:
            return False
        return len(found) == len(answers) and all(_identical(*pair) for pair in zip(found, answers, strict=True))


def draws(call: Call) -> bool:
    """Return whether an operator draws random numbers, as called: dropout that is switched off draws none."""
    if not call.results or not call.seeded:
        return False
    shares = [call.arguments[name] for name in ("p", "dropout_p", "dropout") if name in call.arguments]
    off = any(call.arguments.get(name) is False for name in ("train", "training"))
    return not off and (not shares or any(share != 0 for share in shares))


def _differs(shown: str, changed: list[str], where: str, *, by_python: bool) -> SourceError:
    if changed:
        return keeps_state(changed, f"the same input gives {shown}", where)
    hint = "look for random numbers that torch doesn't see, the time, or state outside of the module"
    if by_python:
        hint = "forward draws numbers by Python's random or numpy.random: make them an input, or leave them out"
    return SourceError(f"the module answers differently at each call: the same input gives {shown}", where, hint)


def keeps_state(changed: Sequence[str], shown: str, where: str) -> SourceError:
    """Return the error for a module that changes what it answers, or holds, from call to call."""
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    what = f"forward changes its {', '.join(changed[:NAMED])}{more}; " if changed else ""
    return SourceError(
        f"this module keeps state between calls: {what}{shown}",
        where,
        "make the state an input and an output of forward (--state IN:OUT), or leave it alone in eval mode",
    )


def shown_difference(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> str:
    """Return where two answers are farthest apart: ``output[0, 2] = 0.5, then 1.5``."""
    if len(first) != len(second):
        return f"{len(first)} outputs, then {len(second)}"
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        name = "output" if not place else f"output_{place}"
        if one.shape != other.shape:
            return f"{name} of shape {tuple(one.shape)}, then {tuple(other.shape)}"
        if not same(one, other):
            apart = (one.double() - other.double()).abs().nan_to_num(torch.inf)
            index = tuple(int(i) for i in np.unravel_index(int(apart.argmax()), one.shape))
            spelled = f"[{', '.join(map(str, index))}]" if index else ""
            return f"{name}{spelled} = {one[index].item():.6g}, then {other[index].item():.6g}"
    return "the same"


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two answers are the same but for rounding."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return bool(torch.equal(one, other))
    scale = float(one.abs().nan_to_num(0, 0, 0).max()) if one.numel() else 0.0
    return bool(torch.allclose(one, other, rtol=0, atol=SAME_ANSWER * scale, equal_nan=True))


def _identical(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())  # noqa: PLR0124 - NaN differs from itself


def _clones(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def _numbers_drawn() -> tuple[object, ...]:
    """Return the state of the generators outside of torch that everybody shares."""
    name, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - the one that legacy calls draw from
    return random.getstate(), name, np.asarray(keys).tobytes(), position
