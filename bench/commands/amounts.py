"""Amounts as flags take them."""

import argparse
import re

FACTORS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
SIZE = re.compile(r"([0-9]{1,12})([KMG]?)(?:i?B)?")


def size_bytes(text: str) -> int:
    """Return the bytes of ``256M`` or ``1GiB``; K, M and G are binary, as where memory is limited."""
    found = SIZE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 256M (an artifact comes before --fit)")
    return int(found[1]) * FACTORS[found[2]]
