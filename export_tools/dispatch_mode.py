"""What the modes that see every operator of a forward have in common. A torch door.

A higher-order operator (``torch.cond``) passes as one and compiles itself; what it compiled beneath a mode breaks its
next call, so the compiler forgets when the mode ends.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
    """Hands every operator to `operator` while it is entered."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._compiled = False

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an operator, and whatever it takes and gives
        """Return what an operator gives; the mode does not see what is called in here."""
        raise NotImplementedError

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - as `operator`
        _types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - as `operator`
        self._compiled |= isinstance(func, HigherOrderOperator)
        return self.operator(func, args, kwargs or {})

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        if self._compiled:
            torch._dynamo.reset()  # noqa: SLF001 - documented, below an underscore
