"""Recurrent state declared with ``--state h_in:h_out``: it is proven over sequences, each engine on its own state.

One step shows little: a state that is dropped, delayed or rounded differently shows in the steps after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edge_runtime.errors import UsageError
from edge_runtime.manifest import Port, Shape, State
from edge_runtime.npz import Array
from export_tools.cases import DATA, REAL, Case

LENGTHS = (2, 3, 16)  # the first step that reads a state, an odd count of turns, and room for an error to grow
USUAL = (REAL, "normal", "uniform")  # the kinds of cases that a stream is a mixture of, beside the user's own


def refuse_unknown(state: Sequence[State], inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Raise UsageError for state that names no input or output, or one of them twice."""
    for what, names, known in (
        ("input", [pair.input for pair in state], inputs),
        ("output", [pair.output for pair in state], outputs),
    ):
        for name in names:
            if name not in known:
                raise UsageError(f"no {what} {name!r}", "--state", f"the {what}s are {', '.join(known)}")
            if names.count(name) > 1:
                raise UsageError(f"the {what} {name!r} is there twice", "--state", "name each once: h_in:h_out")


def refuse_unlike(state: Sequence[State], inputs: Sequence[Port], outputs: Mapping[str, Port]) -> None:
    """Raise UsageError for state that comes out otherwise than it goes in: it can't be fed back as it is."""
    ports = {port.name: port for port in inputs}
    for pair in state:
        taken, given = ports[pair.input], outputs[pair.output]
        if str(taken) != str(given):
            raise UsageError(
                f"it goes in as {taken} and comes out as {given}",
                f"--state {pair.input}:{pair.output}",
                "give the example's state the size and dtype that forward returns; a state that grows is none",
            )


def ports_of_outputs(shapes: Mapping[str, Shape], answer: Mapping[str, Array]) -> dict[str, Port]:
    """Return the outputs as ports, by name."""
    return {name: Port(name=name, dtype=answer[name].dtype.name, shape=shape) for name, shape in shapes.items()}


def make_sequences(cases: Sequence[Case], state: Sequence[State], *, seed: int) -> tuple[Case, ...]:
    """Return the steps of some sequences, one case a step, made of the values that single cases have.

    A step that isn't its sequence's first has ``follows`` set: its state inputs, zeros here, are what the case before
    it left, in each engine its own. Sequences begin from zeros, as the runtime does, and one from the example's state,
    of another size where a dimension is dynamic.
    """
    if not state:
        return ()
    random = np.random.default_rng(seed)
    carried = {pair.input for pair in state}
    usual = [case for case in cases if case.name in USUAL or case.name.startswith(DATA)]
    usual = [case for case in usual if _like(case, cases[0])]
    # the smallest is mostly a size of 1, which shows little
    sized = sorted((case for case in cases if case.sizes), key=_elements)[:2][-1:]
    steps: list[Case] = []
    for length in LENGTHS:
        other = length == LENGTHS[1]
        sources = sized if other and sized else usual
        for step in range(length):
            source = sources[step % len(sources)]
            inputs = {
                name: (array if other and not step else np.zeros_like(array))
                if name in carried
                else _shuffled(array, random)
                if step
                else array
                for name, array in source.inputs.items()
            }
            steps.append(Case(f"sequence-{length}-step-{step + 1}", inputs, source.sizes, follows=step > 0))
    return tuple(steps)


def is_shortest(case: Case) -> bool:
    """Return whether a case is a step of the shortest sequence."""
    return case.name.startswith(f"sequence-{LENGTHS[0]}-")


def carried_on(case: Case, state: Sequence[State], left: Mapping[str, Array]) -> Case:
    """Return the case with the state that the step before it left; itself when it follows none."""
    if not case.follows:
        return case
    return replace(case, inputs={**case.inputs, **{pair.input: left[pair.output] for pair in state}})


def _like(case: Case, first: Case) -> bool:
    return all(array.shape == first.inputs[name].shape for name, array in case.inputs.items())


def _elements(case: Case) -> int:
    return sum(array.size for array in case.inputs.values())


def _shuffled(array: Array, random: np.random.Generator) -> Array:
    # other values would have to be made by the rules of the input's range; the same in another order keep to them
    return random.permutation(array.ravel()).reshape(array.shape)
