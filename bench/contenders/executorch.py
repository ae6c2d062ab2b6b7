"""ExecuTorch with XNNPACK, PyTorch's own way to boards: the module exported, lowered, loaded as a program.

Inside the timing: `forward` with ``clone_outputs=False``, the counterpart of our bound call. Outside: export and
lowering, which the first start does and whose program is kept, as one would ship it; loading. The program is for fixed
sizes, so that only golden cases of the sizes that are timed can be asked of it.

XNNPACK takes all it can, as "Building an ExecuTorch program" advises for CPUs; the rest runs on the portable kernels.
Its thread pool is set to everyone's count. The bindings take torch's tensors, so torch is in the process too, and in
its memory.
"""

import inspect
import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from bench.contenders.peer import absent, kept_folder, unable
from bench.contenders.torch import TorchEager

if TYPE_CHECKING:
    import torch

    from edge_runtime.contender import Contender, Job, Step


class ExecuTorch(TorchEager):
    """The module as a program for XNNPACK."""

    MODE = "XNNPACK"
    fixed_sizes = True

    def __init__(self, job: "Job") -> None:
        super().__init__(job)
        self._job = job
        self._library: Any = None
        self._file = ""
        self._names: list[str] = []

    def import_engine(self) -> str:
        """Import executorch's runtime, and set its thread pool."""
        super().import_engine()
        try:
            from executorch.extension.pybindings import portable_lib  # noqa: PLC0415 - the import is a measured phase
        except ImportError as problem:
            raise absent("ExecuTorch", "executorch", problem) from problem
        portable_lib._unsafe_reset_threadpool(self._job.threads)  # noqa: SLF001 - the only way there is
        self._library = portable_lib
        return f"executorch {version('executorch')}"

    def configuration(self) -> Mapping[str, str]:
        """Return the runtime's own word on its threads, and which program it runs."""
        return {
            "delegate": self.MODE,
            "threads": str(self._library._threadpool_get_thread_count()),  # noqa: SLF001 - as above
            "sizes": "fixed",
            "model": self._file,
        }

    def _made(
        self, module: "torch.nn.Module", args: "tuple[torch.Tensor, ...]", kwargs: "dict[str, torch.Tensor]"
    ) -> Any:  # noqa: ANN401 - as of its base
        self._names = [name for name in inspect.signature(module.forward).parameters if name in kwargs]
        given = (*args, *(kwargs[name] for name in self._names))
        sizes = "_".join("x".join(map(str, tensor.shape)) or "scalar" for tensor in given)
        program = kept_folder(self._job) / f"{version('executorch')}-{sizes[:150]}.pte"
        try:
            if not program.is_file():
                part = program.with_suffix(f".{os.getpid()}.part")
                part.write_bytes(_lowered(module, args, kwargs))
                part.replace(program)
            loaded = self._library._load_for_executorch(str(program))  # noqa: SLF001 - as above
            loaded.forward(given)
        except Exception as problem:  # torch.export, the lowering and the runtime each have their own
            raise unable("ExecuTorch", "export", problem) from problem
        self._file = str(program)
        return loaded

    def _step(
        self,
        program: Any,  # noqa: ANN401 - as of its base
        args: "tuple[torch.Tensor, ...]",
        kwargs: "dict[str, torch.Tensor]",
    ) -> "Step":
        given = (*args, *(kwargs[name] for name in self._names))
        return lambda: program.forward(given, clone_outputs=False)


def _lowered(module: "torch.nn.Module", args: "tuple[torch.Tensor, ...]", kwargs: "dict[str, torch.Tensor]") -> bytes:
    import torch  # noqa: PLC0415 - the import is a measured phase
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # noqa: PLC0415 - as above
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # noqa: PLC0415 - as above

    with torch.inference_mode(mode=False), torch.no_grad():  # its export refuses inference tensors
        plain = tuple(tensor.clone() for tensor in args)
        exported = torch.export.export(module, plain, {name: tensor.clone() for name, tensor in kwargs.items()})
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        return bytes(lowered.to_executorch().buffer)


def open_contender(job: "Job") -> "Contender":
    """Return ExecuTorch as a contender."""
    return ExecuTorch(job)
