"""An operator that no exporter knows: read out of what an exporter says, and what to write instead of it."""

import re
from dataclasses import dataclass

_FORMS = (
    re.compile(r"No ONNX function found for <OpOverload\(op='(?P<space>\w+)\.(?P<name>\w+)'"),
    re.compile(r"Exporting the operator '(?P<space>\w+)::(?P<name>\w+)' to ONNX"),
    re.compile(r"operator with unrecognized namespace (?P<space>\w+)::(?P<name>\w+)"),
)
_SINCE = re.compile(r"added in version (\d+)")
TORCHS = frozenset({"aten", "prims", "prim"})

MATRICES = (
    "ONNX has no decompositions of matrices: keep what does not depend on the input in a buffer, or give it as input"
)
INVERSE = "where the matrix does not depend on the input, keep its inverse in a buffer; else write small ones out"
FOURIER = "by the dynamo exporter ONNX has it from opset 17 on; else multiply with a buffer of cosines and sines"
SPECIAL = "write it as a polynomial, or as a table in a buffer that forward indexes"
COUNTS = "compare with the edges and add up: ((x >= low) & (x < high)).sum()"
CHOOSES = "keep the size: torch.where(mask, x, 0) instead of choosing elements"
RANDOM = "make random numbers an input of forward"
ORDERED = "sort with torch.topk, and index the result"
# By how an operator's plain name begins; the first that fits
REMEDIES = {
    ("linalg_inv", "inverse"): INVERSE,
    ("linalg_", "svd", "eig", "qr", "cholesky", "lu_", "triangular_solve", "lstsq", "det", "logdet"): MATRICES,
    ("fft", "stft", "istft"): FOURIER,
    ("special_", "bessel", "igamma", "lgamma", "digamma", "polygamma", "zeta", "erfinv", "modified_bessel"): SPECIAL,
    ("histc", "bincount", "histogram"): COUNTS,
    ("unique", "nonzero", "masked_select"): CHOOSES,
    ("rand", "normal", "bernoulli", "multinomial", "poisson", "dropout"): RANDOM,
    ("mode", "median", "kthvalue", "quantile"): ORDERED,
}
FOREIGN = "replace it by PyTorch's own operators for the export, in a wrapper module: no exporter sees inside of it"
OTHERWISE = "write it with operators that ONNX has (onnx.ai/onnx/operators), or do this step outside of the model"


@dataclass(frozen=True, slots=True)
class Missing:
    """An operator that an exporter does not know. name: ``aten.linalg_svd``.   since: the opset that brought it."""

    name: str
    since: int | None


def missing(said: str) -> Missing | None:
    """Return the operator that an exporter's message is about, or None when it is about something else."""
    for form in _FORMS:
        found = form.search(said)
        if found is not None:
            since = _SINCE.search(said)
            return Missing(f"{found['space']}.{found['name']}", int(since[1]) if since else None)
    return None


def remedy(name: str) -> str:
    """Return what to do about an operator that no exporter knows."""
    space, _, operator = name.partition(".")
    if space not in TORCHS:
        return FOREIGN
    own = operator.lstrip("_")
    return next((told for begins, told in REMEDIES.items() if own.startswith(begins)), OTHERWISE)


def plain(name: str) -> str:
    """Return what an operator, ``aten.linalg_inv_ex.default``, shares with what a user calls, ``torch.linalg.inv``."""
    parts = name.replace("::", ".").split(".")
    own = parts[1] if len(parts) > 1 else parts[0]
    return own.strip("_").removeprefix("special_").removeprefix("linalg_").removesuffix("_ex")
