"""What one would write first with onnxruntime: open the model, ``session.run(None, feeds)``.

Inside the timing: the whole call, which checks the feeds, allocates the outputs and returns them as a list. Outside:
finding the model's path in the manifest, and naming the outputs. It runs on the board from this one file.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_runtime.artifact import open_artifact

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from edge_runtime.contender import Contender, Job, Step
    from edge_runtime.npz import Array


class PlainOnnxruntime:
    """A session with the same thread count as everyone and every other option left alone."""

    def __init__(self, job: "Job") -> None:
        artifact = open_artifact(job.artifact)
        self._model = str(artifact.model_path(artifact.variant(job.variant)))
        self._threads = job.threads
        self._session: InferenceSession | None = None

    def import_engine(self) -> str:
        """Import onnxruntime, which imports numpy."""
        import onnxruntime  # noqa: PLC0415 - the import is a measured phase

        return f"onnxruntime {onnxruntime.__version__}"

    def load(self) -> None:
        """Open the session."""
        import onnxruntime  # noqa: PLC0415 - as above

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        self._session = onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])

    def prepare(self, inputs: "Mapping[str, Array]") -> "Step":
        """Return a call with the arrays as they are."""
        session, feeds = self._opened(), dict(inputs)
        return lambda: session.run(None, feeds)

    def answers(self, returned: object) -> "Mapping[str, Array]":
        """Name the outputs, which come in the order of the model's."""
        assert isinstance(returned, list)  # noqa: S101 - what session.run returns
        return dict(zip((port.name for port in self._opened().get_outputs()), returned, strict=True))

    def configuration(self) -> Mapping[str, str]:
        """Return the session's own word on its threads; they spin while they wait, which is onnxruntime's default."""
        options = self._opened().get_session_options()
        return {
            "intra_op_num_threads": str(options.intra_op_num_threads),
            "execution_mode": str(options.execution_mode).rpartition(".")[2],
            "spinning": "on",
        }

    def _opened(self) -> "InferenceSession":
        assert self._session is not None, "load() comes first"  # noqa: S101 - the worker's order, not a user's
        return self._session


def open_contender(job: "Job") -> "Contender":
    """Return the plain script as a contender."""
    return PlainOnnxruntime(job)
