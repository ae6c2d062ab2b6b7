"""Whether a module's tensors can be exported at all: there, on the CPU, and of a dtype that something computes.

A torch door.
"""

import torch

from export_tools.errors import SourceError

NAMED = 3
# What neither numpy nor an artifact has a dtype for, and onnxruntime's CPU provider no kernels
_UNKNOWN = frozenset(
    one
    for one in vars(torch).values()
    if isinstance(one, torch.dtype) and str(one)[6:12] in {"bfloat", "float8", "float4"}
)


def made_usable(module: torch.nn.Module, where: str) -> tuple[str, ...]:
    """Refuse tensors that no export can use; bring those of another device to the CPU, and say so.

    Raises SourceError for lazy parameters, tensors without values (``meta``), and dtypes that nothing here computes.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    lazy = [name for name, tensor in tensors.items() if torch.nn.parameter.is_lazy(tensor)]
    if lazy:
        raise SourceError(
            f"{_named(lazy)} {_are(lazy)} not initialised: a lazy module has weights from its first forward on",
            where,
            "call it once where it is built, after torch.manual_seed; or give its weights: --weights FILE",
        )
    empty = [name for name, tensor in tensors.items() if tensor.device.type == "meta"]
    if empty:
        raise SourceError(
            f"{_named(empty)} {_are(empty)} on the meta device: a shape without values",
            where,
            "give the weights: --weights FILE; or build the module on the CPU",
        )
    strange = [name for name, tensor in tensors.items() if tensor.dtype in _UNKNOWN]
    if strange:
        dtype = str(tensors[strange[0]].dtype).removeprefix("torch.")
        raise SourceError(
            f"{_named(strange)} {_are(strange)} {dtype}, which onnxruntime's CPU provider does not compute",
            where,
            "return module.float() from the builder, with a float32 example: what it answers so is what is exported",
        )
    elsewhere = sorted({str(tensor.device) for tensor in tensors.values()} - {"cpu"})
    if not elsewhere:
        return ()
    module.to("cpu")
    return (f"weights on {', '.join(elsewhere)} were brought to the CPU",)


def dtype_hint(module: torch.nn.Module) -> str:
    """Return what to change if an export fails, where the weights' dtype is the likely reason, else ""."""
    dtypes = {tensor.dtype for tensor in (*module.parameters(), *module.buffers())}
    if torch.float16 in dtypes:
        return (
            "its weights are float16, which onnxruntime's CPU provider computes in float32: "
            "return module.float() from the builder"
        )
    if torch.float64 in dtypes:
        return (
            "its weights are float64, which onnxruntime's CPU provider has few kernels for: "
            "return module.float() from the builder"
        )
    return ""


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
