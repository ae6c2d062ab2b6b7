"""Arrays from the command line: ``--input NAME=F.npy`` (repeatable) or one ``--input F.npz``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import UsageError, WrongInput

if TYPE_CHECKING:
    from edge_runtime.manifest import Port
    from edge_runtime.npz import Array


def add_input_flag(parser: argparse.ArgumentParser, *, otherwise: str) -> None:
    """Add ``--input`` to a verb; `otherwise` says what happens without it."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=F.npy|F.npz",
        help=f"an array for one input (repeatable), or a file with all of them; {otherwise}",
    )


def read_inputs(texts: Sequence[str], ports: "Sequence[Port]") -> "dict[str, Array]":
    """Return the arrays by input name.

    Raises UsageError for flags that make no sense, WrongInput for files that hold no plain arrays.
    """
    from edge_runtime import npz  # noqa: PLC0415 - `--help` and wrong flags must not wait for numpy

    arrays: dict[str, Array] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        # a path may hold "=": NAME= counts only when NAME is an input
        named = bool(equals) and (name in {port.name for port in ports} or not Path(text).exists())
        found = npz.read(Path(file if named else text))
        for key, array in _named(found, name, text, ports).items() if named else _all(found, text, ports).items():
            if key in arrays:
                raise UsageError(f'input "{key}" is given twice', text, "give each input once")
            arrays[key] = array
    return arrays


def _named(found: "dict[str, Array]", name: str, text: str, ports: "Sequence[Port]") -> "dict[str, Array]":
    if name not in {port.name for port in ports}:
        takes = ", ".join(f"{port.name}: {port}" for port in ports)
        raise WrongInput(f"no input {name!r}", text, f"the model takes {takes}")
    if len(found) != 1:
        raise UsageError(f"{len(found)} arrays for one input", text, "give one .npy, or all inputs as --input FILE.npz")
    return {name: next(iter(found.values()))}


def _all(found: "dict[str, Array]", text: str, ports: "Sequence[Port]") -> "dict[str, Array]":
    if set(found) == {""}:
        if len(ports) != 1:
            raise UsageError("which input is this array for?", text, "name it: --input NAME=FILE.npy")
        return {ports[0].name: found[""]}
    # a golden case serves as input too: keys input/NAME beside output/NAME
    return {key.removeprefix("input/"): array for key, array in found.items() if not key.startswith("output/")}
