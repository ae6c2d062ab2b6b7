"""The child process that holds the module: ``python -m export_tools.torch_worker``.

One JSON command a line on stdin, one JSON answer a line on stdout; arrays travel as ``.npz`` files. The commands:

- ``open``: build the module; answer its inputs, the hash of its weights, torch's version; write the example.
- ``widen``: make a float64 copy of the module; its weights in files, when they are many.
- ``probe``: run the example twice; answer how many outputs there are.
- ``changed``: what the module holds that is another since the probe.
- ``export``: write the ONNX file with one exporter; where tracing is a step of its own, a line before the answer tells
  that it is done.
- ``answer``: run one case, in float32 as the module is, and in a float64 copy of it; tell whether forward took another
  path than for an earlier case, and where.
- ``tied``: tell whether another index is as right an answer to a case as the module's own.
- ``watch``: run one case; write the fingerprint of every operator's result, and where each came from.

`serving` tells how they are served, and keeps the user's code, which may print, fork or hang, out of the way.
"""

import contextlib
import copy
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree

from edge_runtime import npz
from edge_runtime.errors import UsageError
from edge_runtime.files import write_whole
from export_tools import escapes, folded
from export_tools import postprocess as postprocessing
from export_tools import preprocess as preprocessing
from export_tools.errors import SourceError
from export_tools.exporting import Exporting
from export_tools.fingerprint import FIGURES
from export_tools.in_double import InDouble
from export_tools.kept_state import Value, changes, checksums, kept
from export_tools.kernel_noise import KernelNoise, deviation
from export_tools.mapped import Mapped
from export_tools.op_trace import Operation, OpTrace, departure, is_nested
from export_tools.op_values import watched
from export_tools.repeatability import Forward
from export_tools.request import SourceSpec
from export_tools.serving import serve
from export_tools.source import Input, Source, inputs_of, open_source, user_code, weights_sha256
from export_tools.tensor_files import array, numbered, read_tensors
from export_tools.ties import Choice, choices, tied
from export_tools.usable import dtype_hint


class Worker:
    """One opened module, and what the commands ask of it."""

    def __init__(self, command: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._tell = tell
        self._source: Source = open_source(SourceSpec.from_json(json.dumps(command["spec"])))
        given = None if command["example"] is None else read_tensors(Path(command["example"]))
        names = tuple(command["input_names"])
        self._inputs: tuple[Input, ...] = inputs_of(self._source, given, names)
        if names and len(names) != len(self._inputs):
            parameters = ", ".join(one.name for one in self._inputs)
            raise UsageError(
                f"{len(names)} input names for {len(self._inputs)} inputs ({parameters})",
                "--input-names",
                "name each once",
            )
        self._names = names or tuple(one.name for one in self._inputs)
        preprocess = preprocessing.parse(command.get("preprocess", ()))
        self._folded = folded.fold_in(
            self._source.module,
            preprocess,
            postprocessing.parse(command.get("postprocess", ())),
            inputs=self._names,
            outputs=command.get("output_names") or self._source.outputs.names,
        )
        self._take_raw(preprocess, command, made=given is None)
        self._precise: torch.nn.Module | None = None
        self._mapped: list[Mapped] = []
        if command["precise"]:
            self.widen({})
        self._kept: dict[str, Value] = {}
        # what the last case left: in float32, in float64, and there with the noise of kernels
        self._left: tuple[list[torch.Tensor], ...] = ([], [], [])
        self._noisy = True  # until a case shows that no operator of the module is
        self._paths: dict[object, list[Operation]] = {}  # what the first case of some sizes ran
        self._escapes: dict[object, list[escapes.Escape]] = {}  # and what left torch there

    def _take_raw(self, steps: tuple[preprocessing.Preprocess, ...], command: Mapping[str, Any], *, made: bool) -> None:
        """Hold the example against the form its inputs come in; make a raw one of the module's own."""
        entry, tensors = self._source.entry, [one.tensor for one in self._inputs]
        if made:
            ranges, seed = command.get("ranges", {}), command.get("seed", 0)
            tensors = folded.raw_example(tensors, self._names, steps, ranges=ranges, seed=seed, where=entry)
            pairs = zip(self._inputs, tensors, strict=True)
            self._inputs = tuple(Input(one.name, one.positional, tensor) for one, tensor in pairs)
        by_name = dict(zip(self._names, tensors, strict=True))
        for step in steps:
            tensor = by_name[step.input]
            step.refuse_unlike(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), "--example")

    def describe(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Write the example by final name; answer what was opened."""
        arrays = {name: array(name, one.tensor) for name, one in zip(self._names, self._inputs, strict=True)}
        npz.write(Path(command["example_out"]), arrays)
        return {
            "inputs": list(self._names),
            "weights_sha256": weights_sha256(self._source.original),
            "checksums": checksums(self._source.original),
            "weights_bytes": _bytes_of(self._source.original),
            "torch": torch.__version__.partition("+")[0],
            "precise": self._precise is not None,
            "dtype_hint": dtype_hint(self._source.original),
            "notes": list(self._source.notes),
        }

    def widen(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Make a float64 copy of the module.

        Before the first forward: what a module caches on the way would stay float32 in a later copy.
        """
        self._precise = _float64(self._source.module)
        if command.get("mapped"):
            modules = [self._source.module, *([] if self._precise is None else [self._precise])]
            self._mapped = [Mapped(module, Path(tempfile.gettempdir())) for module in modules]
        return {"precise": self._precise is not None}

    def probe(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """Run the example twice, and hold the answers and all that the module keeps against each other."""
        tensors = [one.tensor for one in self._inputs]
        module, original, entry = self._source.module, self._source.original, self._source.entry
        forward = Forward(lambda given: self._run(module, given, keep=True), original, tensors, entry)
        probed = forward.repeated(self._names)
        if self._precise is not None:
            precise = self._precise
            with _default_dtype(torch.float64):
                Forward(
                    lambda given: self._run(precise, given, keep=True), original, _wide(tensors), entry
                ).refuse_random()
        self._kept = kept(original)
        return {
            "outputs": len(probed.outputs),
            "names": self._source.outputs.names,
            "notes": list(probed.notes),
            "finished": self._folded.place,
            "classes": self._folded.classes,
        }

    def changed(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """Tell what the module holds that is another since the probe."""
        return {"changed": changes(self._kept, kept(self._source.original))}

    def export(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Write the ONNX file, as `exporting` tells."""
        tensors = [one.tensor for one in self._inputs]
        exporting = Exporting(
            self._source.module,
            self._inputs,
            self._names,
            self._arguments,
            self._source.entry,
            self._tell,
            self._source.scripted,
        )
        return exporting.export(command, tensors)

    def answer(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run one case; write the float32 answers, and the float64 ones if the copy can run.

        state: index of the input and of the output of each state, which the case before left and this one goes on
        with, in float32 and in float64 each with its own.
        precisely: in float64 too.
        compare: hold the path through forward against that of the first case of the same sizes (``path``, or with the
        numbers that Python read ``numbers``), against the ``first`` case of all, or against ``none``.
        """
        given = read_tensors(Path(command["inputs"]))
        tensors = [given[name] for name in self._names]
        for taken, left in command.get("state", ()):
            tensors[taken] = self._left[0][left]
        outputs = self._run(self._source.module, tensors)
        before, self._left = self._left, (outputs, [], [])
        goes_on, shaken = (
            {taken: kept[left] for taken, left in command.get("state", ()) if kept} for kept in before[1:]
        )
        npz.write(Path(command["outputs"]), numbered(outputs))
        branch, escape, untraced = self._departure(tensors, command["compare"])
        precisely = command.get("precisely", True)
        told = {
            "branch": branch,
            "nested": is_nested(self._paths.get(None, ())),
            "escape": escape,
            "untraced": untraced,
            "precise": precisely and self._answer_precisely(tensors, goes_on, Path(command["precise"])),
            "shaken": precisely and self._answer_shaken(tensors, shaken, Path(command["shaken"])),
        }
        for one in self._mapped:
            one.give_back()
        return told

    def tied(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Tell whether the integers in ``got`` are as right an output of this index as what the module answers."""
        given = read_tensors(Path(command["inputs"]))
        got = read_tensors(Path(command["got"]))["got"]
        tensors = [given[name] for name in self._names]
        outputs, plain = choices(lambda: self._run(self._source.module, tensors))
        precise: list[Choice] | None = None
        if self._precise is not None:
            module = self._precise
            with _default_dtype(torch.float64):
                _, precise = choices(lambda: self._in_double(module, _wide(tensors)))
        return {"tied": tied(outputs[command["output"]], got, plain, precise)}

    def watch(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Write what flows through forward; answer which of the values each output is."""
        given = read_tensors(Path(command["inputs"]))
        values, outputs = watched(
            lambda tensors: self._run(self._source.module, tensors, keep=True), [given[name] for name in self._names]
        )
        samples = [value.print.sample for value in values]
        npz.write(
            Path(command["arrays"]),
            {
                "samples": np.concatenate([*samples, np.zeros(0, np.float32)]),
                "sizes": np.array([sample.size for sample in samples], np.int64),
                "figures": np.stack([value.print.figures for value in values]) if values else np.zeros((0, FIGURES)),
            },
        )
        write_whole(Path(command["listing"]), json.dumps([value.to_document() for value in values]).encode())
        return {"outputs": outputs}

    def _departure(self, tensors: list[torch.Tensor], compare: str) -> tuple[str | None, str | None, str]:
        """Return where the path through forward leaves the earlier one, and where other values leave torch.

        The last is why that can't be told, if it can't.
        """
        if compare == "none" or self._source.scripted:
            return None, None, ""
        try:
            with OpTrace() as trace, escapes.Escapes(trace.operations) as leaving:
                self._run(self._source.module, tensors)
        except SourceError as problem:  # it ran a moment ago: something in it does without being watched
            return None, None, problem.what
        key = None if compare == "first" else tuple(tensor.shape for tensor in tensors)
        for one in {None, key} - self._paths.keys():
            self._paths[one], self._escapes[one] = trace.operations, leaving.found
        branch = departure(self._paths[key], trace.operations, numbers=compare == "numbers")
        return branch, escapes.departure(self._escapes[key], leaving.found), ""

    def _answer_precisely(self, tensors: list[torch.Tensor], goes_on: Mapping[int, torch.Tensor], path: Path) -> bool:
        if self._precise is None:
            return False
        try:
            with _default_dtype(torch.float64):
                wide = [goes_on.get(index, tensor) for index, tensor in enumerate(_wide(tensors))]
                precise = self._in_double(self._precise, wide)
        except SourceError:
            self._precise = None  # it runs in its own precision only: from here on there is no such reference
            return False
        npz.write(path, numbered(precise))
        self._left = (self._left[0], precise, [])
        return True

    def _answer_shaken(self, tensors: list[torch.Tensor], goes_on: Mapping[int, torch.Tensor], path: Path) -> bool:
        """Write how far the noise of onnxruntime's kernels moves the float64 answers."""
        if self._precise is None or not (self._noisy or any(map(_is_even, tensors))):
            return False
        module = self._precise
        with _default_dtype(torch.float64), KernelNoise() as noise:
            wide = [goes_on.get(index, tensor) for index, tensor in enumerate(_wide(tensors))]
            outputs = self._in_double(module, wide)
        self._noisy &= noise.met
        if not noise.met:
            return False
        npz.write(path, numbered([deviation(*pair) for pair in zip(outputs, self._left[1], strict=True)]))
        self._left = (*self._left[:2], outputs)
        return True

    def _in_double(self, module: torch.nn.Module, wide: list[torch.Tensor]) -> list[torch.Tensor]:
        try:
            with InDouble():
                return self._run(module, wide)
        except SourceError:  # it can't be watched, maybe
            return self._run(module, wide)

    def _run(self, module: torch.nn.Module, tensors: list[torch.Tensor], *, keep: bool = False) -> list[torch.Tensor]:
        # clones: a forward that works in place must not change what the next call is given
        args, kwargs = self._arguments(tensors if keep else [tensor.clone() for tensor in tensors])
        with user_code(self._source.entry, "forward"), torch.no_grad():
            returned = module(*args, **kwargs)
        leaves = [leaf for leaf in _pytree.tree_leaves(returned) if leaf is not None]
        strange = [type(leaf).__name__ for leaf in leaves if not isinstance(leaf, torch.Tensor)]
        if strange or not leaves:
            what = f"a {strange[0]} among its outputs" if strange else "no tensor"
            raise SourceError(
                f"forward returns {what}", self._source.entry, "return tensors only, from a wrapper module"
            )
        return leaves if keep else [leaf.detach() for leaf in leaves]

    def _arguments(self, tensors: list[torch.Tensor]) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        pairs = list(zip(self._inputs, tensors, strict=True))
        by_place = tuple(tensor for one, tensor in pairs if one.positional)
        return by_place, {one.name: tensor for one, tensor in pairs if not one.positional}


def main() -> None:
    """Serve commands until stdin ends."""
    serve(Worker)


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let the constants that forward makes be of this type."""
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(previous)


def _bytes_of(module: torch.nn.Module) -> int:
    """Return the size of the weights, those that are tied counted once."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in tensors}.values())


def _float64(module: torch.nn.Module) -> torch.nn.Module | None:
    try:
        return copy.deepcopy(module).double()
    except Exception:  # noqa: BLE001 - a module may refuse to be copied in any way; the caller does without and says so
        return None


def _is_even(tensor: torch.Tensor) -> bool:
    """Return whether all values are equal and none is zero: what sums are off by there, no other input shows."""
    return bool(tensor.numel() > 1 and tensor.flatten()[0] != 0 and (tensor == tensor.flatten()[0]).all())


def _wide(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors]


if __name__ == "__main__":
    main()
