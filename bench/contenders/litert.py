"""LiteRT, once TensorFlow Lite: the module converted by litert-torch, once, and run by the interpreter with XNNPACK.

Inside the timing: writing the inputs into the interpreter's own tensors, and `invoke`; the answers stay in its own: the
counterpart of our bound call. Outside: conversion, whose model is kept as a program would ship it, and loading. Later
starts import neither torch nor the converter, so that memory and cold start are the runtime's own.

XNNPACK takes all the floats it can, as by default, with everyone's thread count, which the builtin kernels that run
the rest have too. The model is for fixed sizes, so that only golden cases of the sizes that are timed can be asked of
it. 64-bit numbers become 32-bit ones, as by the converter's default, for few of LiteRT's kernels know others; the
inputs are narrowed outside of the timing. The inputs keep their layout (channels first), and what the converter adds to
turn it is timed. Sources: LiteRT's documentation, "Convert PyTorch models to LiteRT" and "LiteRT for Python"; the
docstrings of litert_torch and ai_edge_litert.
"""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contenders.peer import absent, kept_folder, unable
from bench.contenders.torch import TorchEager, leaves
from edge_runtime.artifact import open_artifact

if TYPE_CHECKING:
    import torch

    from edge_runtime.contender import Contender, Job, Step
    from edge_runtime.npz import Array


class LiteRt:
    """One interpreter, on a model for the sizes that it is given first."""

    fixed_sizes = True

    def __init__(self, job: "Job") -> None:
        manifest = open_artifact(job.artifact).manifest
        self._inputs = [port.name for port in manifest.inputs]
        self._outputs = {port.name: port.dtype for port in manifest.outputs}
        self._job = job
        self._library: Any = None
        self._interpreter: Any = None
        self._model = Path()

    def import_engine(self) -> str:
        """Import the interpreter."""
        try:
            from ai_edge_litert import interpreter  # noqa: PLC0415 - the import is a measured phase
        except ImportError as problem:
            raise absent("LiteRT", "litert", problem) from problem
        self._library = interpreter
        return f"litert {version('ai-edge-litert')}"

    def load(self) -> None:
        """Do nothing: the model is converted, and loaded, for sizes that come with the inputs."""

    def prepare(self, inputs: "Mapping[str, Array]") -> "Step":
        """Load the model, which the first start converts, and return a call that writes the inputs into its tensors."""
        sizes = "_".join("x".join(map(str, inputs[name].shape)) or "scalar" for name in self._inputs)
        self._model = kept_folder(self._job) / f"{version('ai-edge-litert')}-{sizes[:150]}.tflite"
        if not self._model.is_file():
            self._convert(inputs)
        try:
            if self._interpreter is None:  # one for all: its sizes are fixed
                self._interpreter = self._library.Interpreter(str(self._model), num_threads=self._job.threads)
                self._interpreter.allocate_tensors()
            interpreter = self._interpreter
            given = interpreter.get_signature_runner().get_input_details()
            details = [given[f"args_{index}"] for index in range(len(self._inputs))]
            arrays = [
                (detail["index"], inputs[name].astype(detail["dtype"]))
                for detail, name in zip(details, self._inputs, strict=True)
            ]

            def step() -> object:
                for place, array in arrays:
                    interpreter.set_tensor(place, array)
                interpreter.invoke()
                return interpreter

            step()
        except (RuntimeError, ValueError, KeyError) as problem:
            raise unable("LiteRT", "run", problem) from problem
        return step

    def answers(self, returned: Any) -> "Mapping[str, Array]":  # noqa: ANN401 - LiteRT has no types of its own
        """Return the interpreter's output tensors by name, in the dtypes that the artifact promises."""
        found = returned.get_signature_runner().get_output_details()
        return {
            name: returned.get_tensor(found[f"output_{index}"]["index"]).astype(dtype)
            for index, (name, dtype) in enumerate(self._outputs.items())
        }

    def configuration(self) -> Mapping[str, str]:
        """Return what the interpreter was made with, and in how many parts XNNPACK took of how many operators."""
        names = [one["op_name"] for one in self._interpreter._get_ops_details()]  # noqa: SLF001 - nothing public tells
        return {
            "num_threads": str(self._job.threads),
            "delegate": "XNNPACK",
            "delegated parts": str(names.count("DELEGATE")),
            "operators": str(len(names) - names.count("DELEGATE")),
            "sizes": "fixed",
            "model": str(self._model),
        }

    def _convert(self, inputs: "Mapping[str, Array]") -> None:
        converter = Converter(self._job, self._model)
        converter.import_engine()
        converter.load()
        converter.prepare(inputs)


class Converter(TorchEager):
    """The module as a file for LiteRT, held to the artifact's weights as eager torch is."""

    def __init__(self, job: "Job", path: Path) -> None:
        super().__init__(job)
        self._path = path

    def _step(
        self, module: "torch.nn.Module", args: "tuple[torch.Tensor, ...]", kwargs: "dict[str, torch.Tensor]"
    ) -> "Step":
        import torch  # noqa: PLC0415 - the import is a measured phase

        try:
            import litert_torch  # noqa: PLC0415 - as above
        except ImportError as problem:
            raise absent("litert-torch, LiteRT's converter,", "litert", problem) from problem
        inputs = [port.name for port in self._manifest.inputs]
        plain = _in_order(module, [inputs.index(name) for name in self._order], len(args), tuple(kwargs))
        given = dict(zip(self._order, (*args, *kwargs.values()), strict=True))
        part = self._path.with_suffix(f".{os.getpid()}.part")
        try:
            with torch.inference_mode(mode=False), torch.no_grad():  # its export refuses inference tensors
                made = litert_torch.convert(plain, tuple(given[name].clone() for name in inputs))
            made.export(str(part))
            part.replace(self._path)
        except Exception as problem:  # torch.export, the lowering and MLIR's passes each have their own
            part.unlink(missing_ok=True)
            raise unable("LiteRT", "convert", problem) from problem
        return lambda: None


def _in_order(module: "torch.nn.Module", order: Sequence[int], placed: int, names: Sequence[str]) -> "torch.nn.Module":
    """Return the module with its inputs in the artifact's order and its outputs flat, so that places name them all.

    order: which of the artifact's inputs forward takes, `placed` of them by place, the others by these names.
    """
    import torch  # noqa: PLC0415 - the import is a measured phase

    class InOrder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            given = [tensors[index] for index in order]
            return tuple(leaves(self.module(*given[:placed], **dict(zip(names, given[placed:], strict=True)))))

    return InOrder().eval()


def open_contender(job: "Job") -> "Contender":
    """Return LiteRT as a contender."""
    return LiteRt(job)
