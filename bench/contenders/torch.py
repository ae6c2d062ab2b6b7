"""PyTorch as one would serve it: the module in eval mode, eager, under inference mode. Others of torch build on it.

Inside the timing: ``module(*tensors)`` and nothing else. Outside: making the tensors (as the bound call's inputs are
in place), entering inference mode (once, for the whole thread), flattening the outputs and viewing them as numpy
arrays, and holding the weights against the artifact's. Both sides end with the answers in memory; ours have names.

Runs with the machine's own interpreter, since a board's payload has no PyTorch. The module comes from flags or from
this host's memory of its exports, never from what an artifact says of itself.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contenders.peer import absent
from bench.errors import SourceDiffers
from edge_runtime.artifact import open_artifact

if TYPE_CHECKING:
    import torch

    from edge_runtime.contender import Contender, Job, Step
    from edge_runtime.npz import Array
    from export_tools.source import Source


class TorchEager:
    """The module, opened as the export opened it."""

    MODE: ClassVar[str] = "eager, inference mode"

    def __init__(self, job: "Job") -> None:
        self._manifest = open_artifact(job.artifact).manifest
        self._where = str(job.artifact)
        self._spec, self._threads = job.options.get("source", ""), job.threads
        self._source: Source | None = None
        self._mode: torch.inference_mode | None = None
        self._program: Any = None
        self._sizes: dict[str, Any] = {}  # that it was made for
        self._checked = False  # once: a contender may change the module afterwards
        self._order: tuple[str, ...] = ()  # of the artifact's inputs, as forward takes them

    def import_engine(self) -> str:
        """Import torch and set its thread counts, which must precede its first parallel work."""
        try:
            import torch  # noqa: PLC0415 - the import is a measured phase
        except ImportError as problem:
            raise absent("PyTorch", "export", problem) from problem
        torch.set_num_threads(self._threads)
        torch.set_num_interop_threads(1)
        return f"torch {torch.__version__}"

    def load(self) -> None:
        """Build the module and load its weights."""
        from export_tools import postprocess, preprocess  # noqa: PLC0415 - as above
        from export_tools.folded import fold_in  # noqa: PLC0415 - as above
        from export_tools.request import SourceSpec  # noqa: PLC0415 - as above
        from export_tools.source import open_source  # noqa: PLC0415 - as above

        spec = SourceSpec.from_json(self._spec)
        self._source = open_source(spec)
        fold_in(
            self._source.module,
            preprocess.parse(spec.preprocess),
            postprocess.parse([] if spec.postprocess is None else [spec.postprocess]),
            inputs=[port.name for port in self._manifest.inputs],
            outputs=[port.name for port in self._manifest.outputs],
        )

    def prepare(self, inputs: "Mapping[str, Array]") -> "Step":
        """Return a call with one tensor for each input, by the names of forward's parameters or else in their order."""
        import torch  # noqa: PLC0415 - as above

        if self._mode is None:
            # for the whole thread: entering it at each call costs a tenth of a small model's time
            self._mode = torch.inference_mode()  # held, because the mode ends with its object
            self._mode.__enter__()  # and never left: the process ends
        from export_tools.source import inputs_of  # noqa: PLC0415 - as above

        source = self._opened()
        self._check_weights()
        tensors = {port.name: torch.from_numpy(inputs[port.name]) for port in self._manifest.inputs}
        by_name = tensors.keys() <= inspect.signature(source.module.forward).parameters.keys()
        given = inputs_of(source, tensors, () if by_name else tuple(tensors))
        self._order = tuple(one.name for one in given) if by_name else tuple(tensors)
        by_place = [one.tensor for one in given if one.positional]
        by_keyword = {one.name: one.tensor for one in given if not one.positional}
        sizes = {name: (array.dtype, array.shape) for name, array in inputs.items()}
        if sizes != self._sizes:  # other inputs of the same sizes take turns on one program
            self._program, self._sizes = self._made(source.module, tuple(by_place), by_keyword), sizes
        return self._step(self._program, tuple(by_place), by_keyword)

    def configuration(self) -> Mapping[str, str]:
        """Return torch's own word on its threads, and what it was built to use."""
        import torch  # noqa: PLC0415 - as above

        return {
            "mode": self.MODE,
            "threads": str(torch.get_num_threads()),
            "interop threads": str(torch.get_num_interop_threads()),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        }

    def answers(self, returned: object) -> "Mapping[str, Array]":
        """Flatten what forward returned and name it as the artifact does; raise SourceDiffers for another module."""
        found = leaves(returned)
        names = [port.name for port in self._manifest.outputs]
        if len(found) != len(names):
            raise SourceDiffers(
                f"the module returns {len(found)} tensors, the artifact {len(names)}", self._where, _HINT
            )
        return {name: leaf.numpy() for name, leaf in zip(names, found, strict=True)}

    def _made(
        self, module: "torch.nn.Module", args: "tuple[torch.Tensor, ...]", kwargs: "dict[str, torch.Tensor]"
    ) -> Any:  # noqa: ANN401 - each mode's own kind of program
        """Return what is made of the module for inputs of these sizes: eager mode calls the module itself."""
        del args, kwargs
        return module

    def _step(
        self,
        program: Any,  # noqa: ANN401 - as above
        args: "tuple[torch.Tensor, ...]",
        kwargs: "dict[str, torch.Tensor]",
    ) -> "Step":
        """Return the call to be timed."""
        return partial(program, *args, **kwargs)

    def _check_weights(self) -> None:
        from export_tools.source import weights_sha256  # noqa: PLC0415 - as above

        wanted = self._manifest.source_weights_sha256
        # an adopted file's hash is over its own initializers: there the answers alone tell
        if self._checked or wanted is None or self._manifest.source_framework != "torch":
            return
        found = weights_sha256(self._opened().original)
        if found != wanted:
            raise SourceDiffers(
                f"the module's weights have the SHA-256 {found[:12]}…, the artifact was exported from {wanted[:12]}…",
                self._where,
                _HINT,
            )
        self._checked = True

    def _opened(self) -> "Source":
        assert self._source is not None, "load() comes first"  # noqa: S101 - the worker's order, not a user's
        return self._source


_HINT = "give the source and weights it was exported from (--source, --weights), or export it again"


def leaves(returned: object) -> "list[torch.Tensor]":
    """Return the tensors of what a forward returned, in order."""
    import torch  # noqa: PLC0415 - as above
    from torch.utils import _pytree  # noqa: PLC0415 - as above

    every, _ = _pytree.tree_flatten(returned)
    return [leaf for leaf in every if isinstance(leaf, torch.Tensor)]


def open_contender(job: "Job") -> "Contender":
    """Return eager PyTorch as a contender."""
    return TorchEager(job)
