"""ncnn, Tencent's engine: the ONNX file converted by its own converter pnnx, once, to a param and a bin file.

Inside the timing: a new extractor, its inputs, and the extraction of each output, which is how every program of ncnn's
calls it; the input matrices are made already. Outside: conversion, loading. Only the golden cases of the sizes that are
timed are asked of it, for pnnx makes a program for fixed sizes.

float32 throughout (its 16-bit storage and arithmetic off, ``fp16=0`` at conversion), no Vulkan, everyone's thread
count, and the packed layouts, Winograd and sgemm convolutions that are on by themselves. Source: ncnn's wiki, "use ncnn
with pytorch or onnx", and the script that pnnx writes; the options in its src/option.h.
"""

import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contenders.peer import absent, kept_folder, unable
from edge_runtime.artifact import open_artifact

if TYPE_CHECKING:
    from edge_runtime.contender import Contender, Job, Step
    from edge_runtime.npz import Array

DEADLINE_S = 240  # of a conversion, below the launch's own
OFF = ("use_vulkan_compute", "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")
DTYPES = {"float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64", "uint8": "u8", "bool": "bool"}
PARTS = ("param", "bin", "py")
# what pnnx writes of a tensor in the script that it makes beside the model: which axis is its batch (233: none)
AXIS = re.compile(r'(?:ex\.input\("(in\d+)"|(out\d+)\.numpy\().*batch_index=(\d+)')


class Ncnn:
    """One net for the sizes that it is given first."""

    fixed_sizes = True

    def __init__(self, job: "Job") -> None:
        artifact = open_artifact(job.artifact)
        self._source = artifact.model_path(artifact.variant(job.variant))
        self._inputs = [port.name for port in artifact.manifest.inputs]
        self._outputs = {port.name: port.dtype for port in artifact.manifest.outputs}
        self._job = job
        self._axes: dict[str, int] = {}
        self._net: Any = None
        self._model = ""

    def import_engine(self) -> str:
        """Import ncnn."""
        try:
            import ncnn  # noqa: F401, PLC0415 - the import is a measured phase
        except ImportError as problem:
            raise absent("ncnn", "ncnn", problem) from problem
        return f"ncnn {version('ncnn')}"

    def load(self) -> None:
        """Do nothing: the model is converted, and loaded, for sizes that come with the inputs."""

    def prepare(self, inputs: "Mapping[str, Array]") -> "Step":
        """Load the converted model, which the first start converts, and make the matrices of the inputs."""
        import ncnn  # noqa: PLC0415 - as above

        if self._net is None:
            self._open(inputs)
        net = self._net
        names = [f"in{index}" for index in range(len(self._inputs))]
        given = [
            (own, ncnn.Mat(inputs[name], **self._axis(own))) for own, name in zip(names, self._inputs, strict=True)
        ]
        wanted = [f"out{index}" for index in range(len(self._outputs))]

        def step() -> object:
            extractor = net.create_extractor()
            for name, matrix in given:
                extractor.input(name, matrix)
            return [extractor.extract(name) for name in wanted]

        if any(status != 0 for status, _ in step()):  # type: ignore[attr-defined]
            raise unable("ncnn", "run", ValueError("an output can't be extracted"))
        return step

    def answers(self, returned: Any) -> "Mapping[str, Array]":  # noqa: ANN401 - ncnn has no types of its own
        """Return the matrices as arrays by name: copies, for what they give is gone with them."""
        outputs = zip(self._outputs.items(), returned, strict=True)
        return {
            name: matrix.numpy(**self._axis(f"out{index}")).astype(dtype)
            for index, ((name, dtype), (_, matrix)) in enumerate(outputs)
        }

    def configuration(self) -> Mapping[str, str]:
        """Return the net's own word on its options."""
        options = self._net.opt
        return {
            "num_threads": str(options.num_threads),
            **{name: str(getattr(options, name)) for name in (*OFF, "use_packing_layout", "use_winograd_convolution")},
            "sizes": "fixed",
            "model": self._model,
        }

    def _axis(self, name: str) -> dict[str, int]:
        return {"batch_index": self._axes[name]} if name in self._axes else {}

    def _open(self, inputs: "Mapping[str, Array]") -> None:
        import ncnn  # noqa: PLC0415 - as above

        sizes = "_".join("x".join(map(str, inputs[name].shape)) or "scalar" for name in self._inputs)
        stem = kept_folder(self._job) / f"{version('ncnn')}-{sizes[:150]}"
        if not stem.with_name(f"{stem.name}.py").is_file():  # which is put there last
            self._convert(inputs, stem)
        script = stem.with_name(f"{stem.name}.py").read_text(encoding="utf-8")
        self._axes = {given or taken: int(axis) for given, taken, axis in AXIS.findall(script)}
        net = ncnn.Net()
        net.opt.num_threads = self._job.threads
        for name in OFF:
            setattr(net.opt, name, False)
        self._model = f"{stem}.bin"
        if net.load_param(f"{stem}.param") != 0 or net.load_model(self._model) != 0:
            raise unable("ncnn", "load", ValueError("it has a layer that this build doesn't know"))
        self._net = net

    def _convert(self, inputs: "Mapping[str, Array]", stem: Path) -> None:
        shapes = ",".join(
            f"[{','.join(map(str, inputs[name].shape))}]{DTYPES.get(inputs[name].dtype.name, 'f32')}"
            for name in self._inputs
        )
        with tempfile.TemporaryDirectory(dir=stem.parent) as folder:
            there = Path(folder, "m.onnx")
            there.write_bytes(self._source.read_bytes())
            words = [_converter(), there.name, f"inputshape={shapes}", "fp16=0"]
            try:
                # in a folder of its own: it writes seven files beside the model
                subprocess.run(words, cwd=folder, check=True, stdout=2, timeout=DEADLINE_S)
                for part in PARTS:
                    made = Path(folder, "m_ncnn.py" if part == "py" else f"m.ncnn.{part}")
                    made.replace(stem.with_name(f"{stem.name}.{part}"))
            except (OSError, subprocess.SubprocessError) as problem:
                raise unable("ncnn", "convert", problem) from problem


def _converter() -> str:
    """Return pnnx's program, without importing its package, which imports torch."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        raise absent("pnnx, ncnn's converter,", "ncnn", ModuleNotFoundError("pnnx"))
    return str(Path(spec.origin).with_name("pnnx"))


def open_contender(job: "Job") -> "Contender":
    """Return ncnn as a contender."""
    return Ncnn(job)
