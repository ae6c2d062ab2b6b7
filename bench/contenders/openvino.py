"""OpenVINO as its documentation advises for latency: the ONNX file read as it is, compiled for the CPU.

Inside the timing: pointing an infer request at tensors that share our arrays, and `infer`, which leaves the answers in
the request's own output tensors: the counterpart of our bound call. Outside: reading and compiling, making the tensors.
Each set of sizes is compiled by itself, since static shapes are the faster ones.

PERFORMANCE_HINT LATENCY with one stream; INFERENCE_NUM_THREADS is everyone's count; INFERENCE_PRECISION_HINT f32, or it
would go down to bfloat16 where the CPU has it. CACHE_DIR keeps compiled models, as ours keeps its graph. Sources:
OpenVINO's documentation, "High-level Performance Hints", "CPU device", "Model Caching Overview".
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.contenders.peer import absent, kept_folder, unable
from edge_runtime.artifact import open_artifact

if TYPE_CHECKING:
    from edge_runtime.contender import Contender, Job, Step
    from edge_runtime.npz import Array

TOLD = ("PERFORMANCE_HINT", "NUM_STREAMS", "INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT", "ENABLE_CPU_PINNING")


class OpenVino:
    """One compiled model for each set of sizes; the latest is the one that answers."""

    def __init__(self, job: "Job") -> None:
        artifact = open_artifact(job.artifact)
        self._path = str(artifact.model_path(artifact.variant(job.variant)))
        self._outputs = [port.name for port in artifact.manifest.outputs]
        self._job = job
        self._core: Any = None
        self._compiled: Any = None
        self._request: Any = None
        self._sizes: dict[str, list[int]] = {}

    def import_engine(self) -> str:
        """Import openvino."""
        try:
            import openvino  # noqa: PLC0415 - the import is a measured phase
        except ImportError as problem:
            raise absent("OpenVINO", "openvino", problem) from problem
        return f"openvino {openvino.__version__.partition('-')[0]}"

    def load(self) -> None:
        """Read the model, which shows whether its operators are known."""
        import openvino  # noqa: PLC0415 - as above

        self._core = openvino.Core()
        self._core.set_property({"CACHE_DIR": str(kept_folder(self._job))})
        try:
            self._core.read_model(self._path)
        except RuntimeError as problem:
            raise unable("OpenVINO", "read", problem) from problem

    def prepare(self, inputs: "Mapping[str, Array]") -> "Step":
        """Compile for these sizes, unless that was done, and return a call that points the request at the arrays."""
        import openvino  # noqa: PLC0415 - as above

        sizes = {name: list(array.shape) for name, array in inputs.items()}
        tensors = [(name, openvino.Tensor(array, shared_memory=True)) for name, array in inputs.items()]
        try:
            if sizes != self._sizes:
                self._compile(sizes)
            request = self._request

            def step() -> object:
                for name, tensor in tensors:
                    request.set_tensor(name, tensor)
                request.infer()
                return request

            step()
        except RuntimeError as problem:
            raise unable("OpenVINO", "compile", problem) from problem
        return step

    def _compile(self, sizes: dict[str, list[int]]) -> None:
        model = self._core.read_model(self._path)
        model.reshape(sizes)
        self._compiled = self._core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
                "INFERENCE_NUM_THREADS": self._job.threads,
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        self._request, self._sizes = self._compiled.create_infer_request(), sizes

    def answers(self, returned: Any) -> "Mapping[str, Array]":  # noqa: ANN401 - openvino has no types of its own
        """Return the request's output tensors by name."""
        return {name: returned.get_tensor(name).data for name in self._outputs}

    def configuration(self) -> Mapping[str, str]:
        """Return what the compiled model says of itself."""
        return {
            **{name: str(self._compiled.get_property(name)) for name in TOLD},
            "cache": self._job.options["cache"],
        }


def open_contender(job: "Job") -> "Contender":
    """Return OpenVINO as a contender."""
    return OpenVino(job)
