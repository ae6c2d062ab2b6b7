"""A forward in float64 whatever precision it names on the way: the truth that rounding is measured by. A torch door.

A copy of the module in float64 is not enough where forward says ``.float()``, ``.half()`` or ``dtype=torch.float32``,
or keeps a tensor that is no buffer: it would fail, or compute half of the truth in float32 and hide its noise.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils import _pytree

from export_tools.dispatch_mode import DispatchMode

WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


class InDouble(DispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Turns every narrower type into float64 while it is entered: of tensors, and of types that are asked for."""

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as `DispatchMode.operator`
        """Return what an operator gives for the same in float64."""
        if isinstance(func, HigherOrderOperator):
            return func(*args, **kwargs)
        # what is written to, by itself or by a view, must stay the tensor that it is
        aliased = any(one.alias_info is not None for one in func._schema.arguments)  # noqa: SLF001 - torch names it so
        change = _type if aliased else _wide
        args, kwargs = _pytree.tree_map(change, (args, dict(kwargs)))
        return func(*args, **kwargs)


def _type(leaf: Any) -> Any:  # noqa: ANN401 - any argument of any operator
    return WIDE.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf


def _wide(leaf: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(leaf, torch.Tensor):
        return leaf.to(WIDE[leaf.dtype]) if leaf.dtype in WIDE else leaf
    return _type(leaf)
