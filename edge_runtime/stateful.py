"""A recurrent model, step by step: each step's state is the next step's input, and nothing is copied on the way.

Two bound calls share every buffer. What the first writes its state into is where the second reads it from, and the
other way round; the two take turns.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import numpy as np

from edge_runtime import session as door
from edge_runtime.bound_call import BoundCall, is_masked
from edge_runtime.errors import ConcurrentUse, WrongInput
from edge_runtime.manifest import State
from edge_runtime.npz import Array
from edge_runtime.tolerance import describe


class StatefulCall:
    """One stream of steps: ``answers = stream(frame=x)``, or write into `inputs` and call without arguments.

    With arguments every input but the state must be given; they are checked, and the answers are new arrays. Without,
    nothing is checked, copied or allocated, and the answers are views, valid until the next step but one (the state)
    or the next (all others). A step that fails leaves the state as it was. Several streams of one model share nothing
    but its weights; one stream takes one thread at a time.

    >>> import edge_runtime, numpy
    >>> model = edge_runtime.load("counting.edge", threads=1)
    >>> stream = model.with_state()
    >>> [stream(x=numpy.array([value], "f4"))["sum"].tolist() for value in (1, 2, 3)]
    [[1.0], [3.0], [6.0]]
    >>> stream.reset()
    >>> stream.inputs["x"][...] = 5
    >>> stream()["sum"].tolist(), stream.state["total_in"].tolist()
    ([5.0], [5.0])
    """

    __slots__ = ("_calls", "_initial", "_turn", "_where", "inputs")

    def __init__(
        self,
        bind: Callable[[Mapping[str, Array], Mapping[str, Array] | None], BoundCall],
        inputs: Mapping[str, Array],
        state: tuple[State, ...],
        *,
        initial: Mapping[str, Array],
        where: str,
    ) -> None:
        """Bind twice. bind: takes inputs, and buffers to share. initial: what `reset` goes back to, else zeros."""
        first = bind(inputs, None)
        written = dict(first._outputs)  # noqa: SLF001 - the buffers of a call are shared here and nowhere else
        inverse = {pair.input: written[pair.output] for pair in state}
        swapped = {pair.output: first.inputs[pair.input] for pair in state}
        second = bind({**first.inputs, **inverse}, {**written, **swapped})
        self._calls, self._turn = (first, second), 0
        self._initial = {pair.input: np.array(initial[pair.input]) for pair in state if pair.input in initial}
        self._where = where
        self.inputs: Mapping[str, Array] = MappingProxyType(
            {name: array for name, array in first.inputs.items() if name not in inverse}
        )

    def __call__(self, /, **inputs: Array) -> Mapping[str, Array]:
        """Run one step and return every output by name, the state that it leaves among them.

        Raises WrongInput naming what doesn't fit, ConcurrentUse when another thread is in this very stream, and
        otherwise as a bound call does.
        """
        # both calls are guarded by the first one's token: a fork or a closed model gives it back
        idle = self._calls[0]._idle  # noqa: SLF001 - as above
        try:
            del idle[0]
        except IndexError:
            raise self._busy() from None
        try:
            if inputs:
                self._take(inputs)
            call = self._calls[self._turn]
            call._run()  # noqa: SLF001 - guarded above
            self._turn = 1 - self._turn
        except Exception as problem:  # noqa: BLE001 - translated exhaustively, re-raised when unknown
            door.refuse(problem, self._where)
        finally:
            idle.append(True)
        answers: Mapping[str, Array] = call._answers  # noqa: SLF001 - as above
        return {name: view.copy() for name, view in answers.items()} if inputs else answers

    @property
    def state(self) -> Mapping[str, Array]:
        """What the next step will read, by input name: views, valid until that step. Copies of them fit `reset`."""
        reads = self._calls[self._turn].inputs
        return MappingProxyType({name: array for name, array in reads.items() if name not in self.inputs})

    def reset(self, /, **state: Array) -> None:
        """Begin anew: from these arrays by input name, and for the others from the initial state, else from zeros.

        Raises WrongInput for what is no state or doesn't fit, ConcurrentUse while another thread is in a step.
        """
        with self._alone():
            buffers = self.state
            self._refuse_unfit(state, buffers, "state")
            for name, buffer in buffers.items():
                buffer[...] = state.get(name, self._initial.get(name, np.zeros((), buffer.dtype)))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        idle = self._calls[0]._idle  # noqa: SLF001 - as in a step
        try:
            del idle[0]
        except IndexError:
            raise self._busy() from None
        try:
            yield
        finally:
            idle.append(True)

    def _take(self, inputs: Mapping[str, Array]) -> None:
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            carried = ", ".join(self.state)
            raise WrongInput(f"no input {', '.join(missing)}", self._where, f"give all but the state ({carried})")
        self._refuse_unfit(inputs, self.inputs, "input")
        for name, array in inputs.items():
            self.inputs[name][...] = array

    def _refuse_unfit(self, arrays: Mapping[str, Array], buffers: Mapping[str, Array], what: str) -> None:
        for name, array in arrays.items():
            buffer = buffers.get(name)
            if buffer is None:
                names = ", ".join(buffers) or "none"
                hint = f"its {what}s are {names}; the state is set with reset(), every other input with a step"
                raise WrongInput(f"no {what} {name!r:.80} of this stream", self._where, hint)
            if type(array) is np.ndarray and array.shape == buffer.shape and array.dtype == buffer.dtype:
                continue  # most arrays; what follows is slower
            if not isinstance(array, np.ndarray) or is_masked(array):
                raise WrongInput(f'{what} "{name}" is a {type(array).__name__}', self._where, "pass a numpy array")
            if array.shape != buffer.shape or array.dtype.newbyteorder("=") != buffer.dtype:
                wanted = f'{what} "{name}" is {describe(array)}, this stream takes {describe(buffer)}'
                raise WrongInput(wanted, self._where, "convert it, or begin another stream: model.with_state(...)")

    def _busy(self) -> ConcurrentUse:
        return ConcurrentUse(
            "two threads use one stream at once", self._where, "give each thread a stream of its own: with_state()"
        )
