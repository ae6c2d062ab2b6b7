"""A forward in float64 whatever precision it names on the way: the truth that rounding is measured by. A torch door.

A copy of the module in float64 is not enough where forward says ``.float()``, ``.half()`` or ``dtype=torch.float32``,
or keeps a tensor that is no buffer: it would fail, or compute half of the truth in float32 and hide its noise.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


class InDouble(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Turns every narrower type into float64 while it is entered: of tensors, and of types that are asked for."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._compiled = False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an operator, and whatever it takes and gives
        _types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - as above
        if isinstance(func, HigherOrderOperator):
            self._compiled = True
            return func(*args, **(kwargs or {}))
        # what is written to, by itself or by a view, must stay the tensor that it is
        aliased = any(one.alias_info is not None for one in func._schema.arguments)  # noqa: SLF001 - torch names it so
        change = _type if aliased else _wide
        args, kwargs = _pytree.tree_map(change, (args, dict(kwargs or {})))
        return func(*args, **kwargs)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        if self._compiled:  # as in `op_trace`: what was compiled beneath a mode breaks the next call
            torch._dynamo.reset()  # noqa: SLF001 - documented, below an underscore


def _type(leaf: Any) -> Any:  # noqa: ANN401 - any argument of any operator
    return WIDE.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf


def _wide(leaf: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(leaf, torch.Tensor):
        return leaf.to(WIDE[leaf.dtype]) if leaf.dtype in WIDE else leaf
    return _type(leaf)
