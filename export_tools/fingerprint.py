"""A value that flows through a network, as a few kilobytes that two engines can be compared by. Pure numpy."""

from dataclasses import dataclass

import numpy as np

from edge_runtime.npz import Array

SAMPLES = 2048  # elements kept, evenly over the value: all of a small one, enough of a large one to see it differ
FIGURES = 5


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """shape: with its ones left out.   sample: float32, `SAMPLES` at most, in order.   figures: what no order changes.

    figures: the least, the largest, the mean, the mean magnitude and the root of the mean square, in float64.
    """

    shape: tuple[int, ...]
    sample: Array
    figures: Array

    @property
    def size(self) -> int:
        """How many elements the value has."""
        return int(np.prod(self.shape))

    def is_close(self, other: "Fingerprint", relative: float) -> bool:
        """Return whether both may be the same value but for a share of its largest magnitude.

        An exporter may keep a value transposed: with another shape only what no order changes is compared.
        """
        if self.size != other.size:
            return False
        allowed = relative * max(abs(float(self.figures[0])), abs(float(self.figures[1])))
        same_figures = bool((np.abs(self.figures - other.figures) <= allowed).all())
        if self.shape != other.shape:
            return same_figures
        return same_figures and bool((np.abs(self.sample - other.sample) <= allowed).all())


def fingerprint(array: Array) -> Fingerprint:
    """Return the fingerprint of a numeric or boolean array; what is not finite counts as 0."""
    flat = np.nan_to_num(array.reshape(-1).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    shape = tuple(size for size in array.shape if size != 1)
    if not flat.size:
        return Fingerprint(shape, np.zeros(0, np.float32), np.zeros(FIGURES))
    places = np.linspace(0, flat.size - 1, min(SAMPLES, flat.size)).round().astype(np.int64)
    figures = (flat.min(), flat.max(), flat.mean(), np.abs(flat).mean(), np.sqrt(np.square(flat).mean()))
    with np.errstate(over="ignore"):
        return Fingerprint(shape, flat[places].astype(np.float32), np.array(figures))
