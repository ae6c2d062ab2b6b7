"""torch.compile as one would serve with it: Inductor's C++ kernels for exactly these shapes, under inference mode.

Inside the timing: the call of the compiled module, its guards included. Outside: compiling, which is the phase "first"
of the cold start. The record has both of its kinds: `first_start_ns` is the start that found the cache as it was, the
launches' phases are those of later starts, from the cache. The cache is a folder of ours that the record names
(``TORCHINDUCTOR_CACHE_DIR``), one for each model.

Default mode: CUDA graphs, which "reduce-overhead" brings, are no matter of a CPU, and freezing (``freezing = True``)
would bypass the cache. ``dynamic=False`` for what is timed: kernels for fixed sizes are the faster ones. One process
compiles: a pool of helpers would stand beside the timing. Sources: PyTorch's documentation of `torch.compile`,
"torch.compile caching configuration", and the comments of torch/_inductor/config.py.
"""

import os
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.contenders.peer import kept_folder, unable
from bench.contenders.torch import TorchEager
from edge_runtime.errors import UnsupportedSystem

if TYPE_CHECKING:
    import torch

    from edge_runtime.contender import Contender, Job

SHAPES = 256  # of golden cases; at torch's own limit of 8 it would silently go on in eager mode


class TorchCompiled(TorchEager):
    """The module behind torch.compile."""

    MODE = "compiled by inductor, default mode, dynamic=False"

    def __init__(self, job: "Job") -> None:
        super().__init__(job)
        self._job = job
        self._folder = ""
        self._compiled = False

    def import_engine(self) -> str:
        """Import torch with the cache in our folder; raise UnsupportedSystem where there is no C++ compiler."""
        compiler = os.environ.get("CXX", "g++")  # as torch._inductor.config.cpp.cxx
        if shutil.which(compiler) is None:
            raise UnsupportedSystem(
                f"there is no C++ compiler ({compiler}), which torch.compile needs",
                "this machine",
                "install one: apt-get install g++, or name one in CXX",
            )
        self._folder = str(kept_folder(self._job))
        if any(letter.isspace() for letter in self._folder):  # Inductor puts it into a shell's words unquoted
            raise UnsupportedSystem(
                "torch.compile can't compile in a folder with a space in its path",
                self._folder,
                "set XDG_CACHE_HOME to one without",
            )
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = self._folder
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        return super().import_engine()

    def configuration(self) -> Mapping[str, str]:
        """Return eager's, and where the kernels were compiled to."""
        return {**super().configuration(), "cache": self._folder}

    def _made(
        self, module: "torch.nn.Module", args: "tuple[torch.Tensor, ...]", kwargs: "dict[str, torch.Tensor]"
    ) -> Any:  # noqa: ANN401 - as of its base
        import torch  # noqa: PLC0415 - the import is a measured phase
        import torch._dynamo  # noqa: PLC0415 - as above

        torch._dynamo.config.recompile_limit = SHAPES  # noqa: SLF001 - documented, and public nowhere else
        torch._dynamo.config.accumulated_recompile_limit = SHAPES  # noqa: SLF001 - as above
        try:
            # what is timed comes first; golden cases of other sizes are answered by kernels for any size, since
            # compiling for each of a dozen would take minutes of every launch
            compiled = torch.compile(module, dynamic=None if self._compiled else False)
            self._compiled = True
            compiled(*args, **kwargs)  # compiles: a kernel that can't be made says so here
        except Exception as problem:  # Dynamo, Inductor and the C++ compiler each have their own
            raise unable("torch.compile", "compile", problem) from problem
        return compiled


def open_contender(job: "Job") -> "Contender":
    """Return torch.compile as a contender."""
    return TorchCompiled(job)
