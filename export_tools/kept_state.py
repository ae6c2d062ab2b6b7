"""What a module holds between calls, and what of it a forward changed: parameters, buffers, plain attributes.

A torch door.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from torch.utils import _pytree

SHOWN = 3  # values and names: enough to recognise them
MAX_LEAVES = 1000  # of one attribute: a table of numbers that long is no state; and of the names in one answer
LARGE_BYTES = 2**26  # above it a sum, ten times as fast as a CRC, has to do: no state is that large
_TORCHS_OWN = frozenset({*vars(torch.nn.Module()), "_c"})  # hooks and the like, and a script's handle


@dataclass(frozen=True, slots=True)
class Value:
    """One thing that a module holds. kind: ``parameter``, ``buffer`` or ``attribute``.   content: changes with it."""

    kind: str
    content: object
    text: str


def kept(module: torch.nn.Module) -> dict[str, Value]:
    """Return what a module holds, by the name one would write after ``self.``."""
    found: dict[str, Value] = {}
    for kind, tensors in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        found |= {name: _value(kind, tensor) for name, tensor in tensors}
    for name, leaf in _attributes(module):
        found[name] = _value("attribute", leaf)
    return found


def changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[str]:
    """Return what is another now, buffers first: ``buffer 'count' (0.0 → 1.0)``."""
    order = ("buffer", "parameter", "attribute")
    names = [name for name, value in after.items() if name not in before or before[name].content != value.content]
    return [
        f"{after[name].kind} {name!r} ({before[name].text if name in before else 'nothing'} → {after[name].text})"
        for name in sorted(names, key=lambda name: order.index(after[name].kind))
    ]


def is_registered(change: str) -> bool:
    """Return whether a sentence of `changes` is about a buffer or a parameter."""
    return not change.startswith("attribute")


def checksums(module: torch.nn.Module) -> dict[str, int]:
    """Return a checksum of each tensor that a module holds, registered or not; of the first thousand of each kind."""
    named = ((name, leaf) for name, leaf in module.state_dict().items() if isinstance(leaf, torch.Tensor))
    plain = ((name, leaf) for name, leaf in _attributes(module) if isinstance(leaf, torch.Tensor))
    return {name: _checksum(leaf) for some in (named, plain) for name, leaf in islice(some, MAX_LEAVES)}


def _attributes(module: torch.nn.Module) -> Iterator[tuple[str, object]]:
    for prefix, owner in module.named_modules():
        for name, value in vars(owner).items():
            if name in _TORCHS_OWN:
                continue
            try:
                leaves = list(islice(_pytree.tree_iter(value), MAX_LEAVES))
            except RecursionError:  # it holds itself
                continue
            for index, leaf in enumerate(one for one in leaves if isinstance(one, torch.Tensor | int | float)):
                place = ".".join(filter(None, (prefix, name)))
                yield (place if leaf is value else f"{place}[{index}]"), leaf


def _value(kind: str, leaf: object) -> Value:
    if not isinstance(leaf, torch.Tensor):
        return Value(kind, (type(leaf), repr(leaf)), repr(leaf))
    content = (leaf.dtype, tuple(leaf.shape), _checksum(leaf))
    if leaf.layout is not torch.strided or leaf.is_quantized or leaf.is_meta:
        return Value(kind, content, f"a {str(leaf.dtype).removeprefix('torch.')} tensor")
    if leaf.numel() == 1:
        return Value(kind, content, f"{leaf.item():.6g}")
    first = ", ".join(f"{value:.4g}" for value in leaf.detach().reshape(-1)[:SHOWN].tolist())
    return Value(kind, content, f"[{first}{', …' if leaf.numel() > SHOWN else ''}]")


def _checksum(tensor: torch.Tensor) -> int:
    """Return a number that is another for other bytes, as good as always; 0 where there are no plain bytes."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or not tensor.numel():
        return 0
    octets = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8)
    if octets.numel() > LARGE_BYTES and octets.numel() % 8 == 0:
        return int(octets.view(torch.int64).sum())
    return zlib.crc32(octets.numpy().data)
