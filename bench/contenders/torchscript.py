"""TorchScript as one would deploy it: the module traced, frozen, and optimised for inference.

Inside the timing: the call of the frozen module. Outside: tracing, freezing and `optimize_for_inference` (which folds
and fuses, and turns convolutions to oneDNN's layout), as PyTorch's "TorchScript: optimize for inference" advises. They
need the inputs, so they belong to the phase "first" of the cold start. Each shape is traced by itself, so that sizes
that a trace freezes are right for it. The warm-up covers the executor's first profiling calls.
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.contenders.peer import unable
from bench.contenders.torch import TorchEager

if TYPE_CHECKING:
    import torch

    from edge_runtime.contender import Contender, Job


class TorchScript(TorchEager):
    """The module as a frozen trace."""

    MODE = "traced, frozen, optimised for inference"

    def _made(
        self, module: "torch.nn.Module", args: "tuple[torch.Tensor, ...]", kwargs: "dict[str, torch.Tensor]"
    ) -> Any:  # noqa: ANN401 - as of its base
        import torch  # noqa: PLC0415 - the import is a measured phase

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is deprecated, and that a trace freezes sizes, is known here
                traced = _traced(module, args, kwargs)
                frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
                frozen(*args, **kwargs)  # a trace that can't run says so at its first call
        except Exception as problem:  # whatever a tracer meets in someone's forward
            raise unable("TorchScript", "trace", problem) from problem
        return frozen


def _traced(
    module: "torch.nn.Module", args: "tuple[torch.Tensor, ...]", kwargs: "Mapping[str, torch.Tensor]"
) -> "torch.jit.ScriptModule":
    import torch  # noqa: PLC0415 - the import is a measured phase

    if args and kwargs:
        raise ValueError("some inputs are given by place and some by name, which a trace can't take")
    given = {"example_inputs": args} if args else {"example_kwarg_inputs": dict(kwargs)}
    # strict=False: dicts of outputs are allowed, whose order is safe here
    traced = torch.jit.trace(module, **given, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
    assert isinstance(traced, torch.jit.ScriptModule)  # noqa: S101 - what tracing a module gives
    return traced


def open_contender(job: "Job") -> "Contender":
    """Return TorchScript as a contender."""
    return TorchScript(job)
