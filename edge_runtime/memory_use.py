"""What memory launches say of a contender: each figure's median, and how far the launches are apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from edge_runtime.samples import MemoryLaunch


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Bytes: the median of a contender's memory launches, each with its least and most in `spread`.

    total_peak: the most resident ever.   model_steady: what the model adds to Pss in steady state.
    resident: VmRSS in steady state.   base: Pss with the engine imported and no model.
    """

    total_peak: int | None
    model_steady: int | None
    resident: int | None
    base: int | None
    load_peak: int | None
    run_peak: int | None
    launches: int
    spread: Mapping[str, tuple[int, int]]

    def limits(self, name: str) -> tuple[int, int] | tuple[None, None]:
        """Return the least and the most of a figure's launches; None and None where one alone was taken."""
        return self.spread[name] if self.launches > 1 and name in self.spread else (None, None)


def memory_use(readings: Sequence[MemoryLaunch]) -> MemoryUse | None:
    """Return the figures of a contender's memory launches; None without any."""
    if not readings:
        return None
    values = {name: [figure(one) for one in readings] for name, figure in FIGURES.items()}
    known = {name: [one for one in told if one is not None] for name, told in values.items()}
    return MemoryUse(
        **{name: median_low(told) if told else None for name, told in known.items()},
        launches=len(readings),
        spread={name: (min(told), max(told)) for name, told in known.items() if told},
    )


def _total_peak(reading: MemoryLaunch) -> int | None:
    peaks = [point.peak for point in reading.points.values()]
    return None if None in peaks else max(peak for peak in peaks if peak is not None)


def _model_steady(reading: MemoryLaunch) -> int | None:
    base, steady = reading.points["base"].proportional, reading.points["steady"].proportional
    return None if base is None or steady is None else steady - base


FIGURES: Mapping[str, Callable[[MemoryLaunch], int | None]] = {
    "total_peak": _total_peak,
    "model_steady": _model_steady,
    "resident": lambda reading: reading.points["steady"].resident,
    "base": lambda reading: reading.points["base"].proportional,
    "load_peak": lambda reading: reading.load_peak_bytes,
    "run_peak": lambda reading: reading.run_peak_bytes,
}
