"""Values to text: one place chooses between microseconds and milliseconds, KiB and MiB."""

import unicodedata
from collections.abc import Callable

Text = Callable[[float], str]


def duration(ns: float) -> str:
    """Return nanoseconds as text with three significant digits: ``412 ns``, ``2.15 us``, ``104 ms``, ``3.20 s``."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        # 0.9995 of a unit already rounds to 1.00 of it
        if abs(ns) >= size * 0.9995:
            return f"{_three_digits(ns / size)} {unit}"
    return f"{ns:.0f} ns"


def size(count: float) -> str:
    """Return bytes as text in binary units: ``512 B``, ``1.46 KiB``, ``20.1 MiB``."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= factor * 0.9995:
            return f"{_three_digits(count / factor)} {unit}"
    return f"{count:.0f} B"


def energy(microjoules: float) -> str:
    """Return an energy as text in decimal units: ``850 uJ``, ``12.5 mJ``, ``1.20 J``."""
    for unit, size in (("J", 1e6), ("mJ", 1e3)):
        if abs(microjoules) >= size * 0.9995:
            return f"{_three_digits(microjoules / size)} {unit}"
    return f"{_three_digits(microjoules)} uJ"


def rate(per_second: float) -> str:
    """Return a throughput as text: ``467000/s``, ``31.2/s``."""
    return f"{_three_digits(per_second)}/s"


def count(number: int, noun: str) -> str:
    """Return a number of things: ``1 launch``, ``3 launches``, ``2 threads``."""
    plural = f"{noun}es" if noun.endswith(("ch", "s", "x")) else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def visible(text: str) -> str:
    """Return text for a terminal: control characters, which a hostile artifact could send it, become escapes."""
    return "".join(
        letter if letter in "\n\t" or not unicodedata.category(letter).startswith("C") else ascii(letter)[1:-1]
        for letter in text
    )


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    if magnitude >= 99.95:  # noqa: PLR2004 - rounds to 100
        return f"{value:.0f}"
    return f"{value:.1f}" if magnitude >= 9.995 else f"{value:.2f}"  # noqa: PLR2004 - rounds to 10
