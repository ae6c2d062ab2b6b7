"""The child process that holds an ONNX file as it came: ``python -m export_tools.onnx_worker``.

It answers what `torch_worker` answers of a module, without torch: the file runs in onnxruntime with all optimisation
off, which is the reference that an adopted model is held against. The commands (see `serving`):

- ``open``: load the file; answer the engine.
- ``probe``: run one example twice; answer how many outputs there are.
- ``answer``: run one case.
- ``tied``: tell whether another index is as right an answer; without scores to look at, it never is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime import npz, session
from edge_runtime.errors import InvalidModel, UnsupportedModel, WrongInput
from edge_runtime.npz import Array
from export_tools.errors import SourceError
from export_tools.serving import Tell, serve

GIVE_OTHERS = "give an example that it takes: --example NAME=1x3x224x224:float32 or FILE.npz"


class Worker:
    """One opened file, and what the commands ask of it. names: the final ones of its inputs, in their order."""

    def __init__(self, command: Mapping[str, Any], _tell: Tell) -> None:
        self._where: str = command["where"]
        self._session = session.open_model(
            Path(command["model"]), threads=command["threads"], where=self._where, optimised=True
        )
        self._names: dict[str, str] = dict(command["inputs"])  # by final name
        self._outputs: list[str] = list(command["outputs"])
        self._left: list[Array] = []

    def describe(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """Answer what runs it."""
        return {"engine": session.ENGINE}

    def probe(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run the example twice: the answers must be the same."""
        given = npz.read(Path(command["example"]))
        first, second = (self._run(given) for _ in range(2))
        if not all(_same(one, other) for one, other in zip(first, second, strict=True)):
            drawn = ", ".join(command["random"])
            raise SourceError(
                "it answers differently at each call, with the same input" + (f": it holds {drawn}" if drawn else ""),
                self._where,
                "export it in evaluation mode, and make random numbers an input of the model",
            )
        return {"outputs": len(first)}

    def answer(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run one case; the command is `torch_worker`'s."""
        given = npz.read(Path(command["inputs"]))
        names = list(self._names)
        given |= {names[taken]: self._left[left] for taken, left in command.get("state", ())}
        self._left = self._run(given)
        npz.write(Path(command["outputs"]), {str(index): array for index, array in enumerate(self._left)})
        return {"branch": None, "untraced": "", "nested": False, "escape": None, "precise": False, "shaken": False}

    def changed(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """Tell that nobody knows what it holds."""
        return {"changed": []}

    def watch(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse: there is no line of anyone's code to name."""
        raise SourceError("an ONNX file has no operators of PyTorch", self._where, "look at its graph: edge view")

    def tied(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """Tell that no other index is right."""
        return {"tied": False}

    def _run(self, given: Mapping[str, Array]) -> list[Array]:
        fed = {own: given[name] for name, own in self._names.items()}
        try:
            try:
                return list(self._session.run(self._outputs, fed))
            except Exception as problem:
                known = session.translated(problem, self._where)
                if known is None:
                    raise
                raise known from problem
        except (InvalidModel, UnsupportedModel, WrongInput) as problem:
            raise SourceError(problem.what, self._where, GIVE_OTHERS) from problem


def _same(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def main() -> None:
    """Serve commands until stdin ends."""
    serve(Worker)


if __name__ == "__main__":
    main()
