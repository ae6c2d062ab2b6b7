"""Untrusted JSON to typed values: each refusal names the file and the field.

The order is always limit, parse, validate, use. Raw dictionaries do not leave this module.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Never, TypeVar

from edge_runtime.errors import EdgeError, InputError

T = TypeVar("T")

MAX_STRING = 4096  # longer text in a manifest or record is an attack or a mistake
MAX_INTEGER = 2**63 - 1
MAX_DEPTH = 32  # our documents are at most 8 deep; deeper ones only cost stack


class Fields:
    """One JSON object being read: every accessor checks type and range, and `finish` refuses leftovers."""

    def __init__(self, value: object, where: str, path: str, error: type[EdgeError]) -> None:
        self._where, self._path, self._error = where, path, error
        if not isinstance(value, dict):
            self.refuse("", f"is {_kind(value)}, expected an object")
        self._values: dict[str, Any] = dict(value)

    def refuse(self, key: str, problem: str, hint: str = "the file is damaged or was not written by edge") -> Never:
        """Raise this document's error class, naming the field."""
        field = ".".join(part for part in (self._path, key) if part) or "the document"
        raise self._error(f"{field} {problem}", self._where, hint)

    def finish(self) -> None:
        """Refuse unknown keys: they are typos or a newer format, and both deserve a sentence."""
        if self._values:
            names = ", ".join(sorted(self._values)[:5])
            self.refuse("", f"has unknown keys: {names[:200]}")

    def has(self, key: str) -> bool:
        """Return whether the key is present and not null; an absent one is refused when it is read."""
        return self._values.get(key) is not None

    def string(self, key: str, *, choices: tuple[str, ...] = (), limit: int = MAX_STRING) -> str:
        """Return a string no longer than `limit` characters, one of `choices` when these are given."""
        value = self._take(key)
        if not isinstance(value, str):
            self.refuse(key, f"is {_kind(value)}, expected a string")
        if len(value) > limit:
            self.refuse(key, f"is {len(value)} characters long, at most {limit} are allowed")
        if choices and value not in choices:
            self.refuse(key, f"is {value!r}, expected one of {', '.join(choices)}")
        return value

    def integer(self, key: str, *, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Return an integer in [low, high]; booleans and floats are not integers."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(key, f"is {_kind(value)}, expected an integer")
        if not low <= value <= high:
            self.refuse(key, f"is {_short(value)}, expected {low} to {high}")
        return value

    def number(self, key: str, *, low: float = float("-inf"), high: float = float("inf")) -> float:
        """Return a finite float in [low, high]."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(key, f"is {_kind(value)}, expected a number")
        # 1e999 is valid JSON and parses to infinity; an integer of 400 digits becomes no float at all
        if (
            (isinstance(value, int) and abs(value) > MAX_INTEGER)
            or not math.isfinite(value)
            or not low <= value <= high
        ):
            self.refuse(key, f"is {_short(value)}, expected a finite number of {low} to {high}")
        return float(value)

    def boolean(self, key: str) -> bool:
        """Return true or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            self.refuse(key, f"is {_kind(value)}, expected true or false")
        return value

    def child(self, key: str) -> "Fields":
        """Return a nested object, to be finished by the caller."""
        return Fields(self._take(key), self._where, self._join(key), self._error)

    def children(self, key: str, *, limit: int) -> "list[Fields]":
        """Return a list of at most `limit` nested objects."""
        return [
            Fields(value, self._where, f"{self._join(key)}[{index}]", self._error)
            for index, value in enumerate(self._list(key, limit))
        ]

    def mapping(self, key: str, *, limit: int) -> "dict[str, Fields]":
        """Return an object whose keys are data and whose values are objects."""
        value = self._take(key)
        if not isinstance(value, dict) or len(value) > limit:
            self.refuse(key, f"is not an object of at most {limit} entries")
        return {
            name: Fields(item, self._where, f"{self._join(key)}.{name[:80]}", self._error)
            for name, item in value.items()
        }

    def integers(self, key: str, *, limit: int, low: int = 0, high: int = MAX_INTEGER) -> tuple[int, ...]:
        """Return a list of at most `limit` integers in [low, high]."""
        values = self._list(key, limit)
        for index, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                self.refuse(f"{key}[{index}]", f"is {_short(value)}, expected an integer of {low} to {high}")
        return tuple(values)

    def strings(self, key: str, *, limit: int) -> tuple[str, ...]:
        """Return a list of at most `limit` strings."""
        values = self._list(key, limit)
        for index, value in enumerate(values):
            if not isinstance(value, str) or len(value) > MAX_STRING:
                self.refuse(
                    f"{key}[{index}]",
                    f"is {_kind(value)}, expected a string of at most {MAX_STRING} characters",
                )
        return tuple(values)

    def supply(self, key: str, value: object) -> None:
        """Add a key that an older schema did not have; one that is there already is refused, since it did not."""
        if key in self._values:
            self.refuse(key, "belongs to a later schema than the document's own")
        self._values[key] = value

    def leave(self, key: str) -> None:
        """Take no notice of a key that may be there."""
        self._values.pop(key, None)

    def names(self) -> tuple[str, ...]:
        """Return the keys that have not been read yet, for objects whose keys are data."""
        return tuple(self._values)

    def counts(self, key: str, *, limit: int) -> dict[str, int]:
        """Return an object of names to non-negative integers."""
        counted = self.child(key)
        if len(counted.names()) > limit:
            self.refuse(key, f"has {len(counted.names())} entries, at most {limit} are allowed")
        return {name: counted.integer(name) for name in counted.names()}

    def shape(self, key: str, *, limit: int = 32) -> tuple[int | str, ...]:
        """Return a tensor shape: sizes >= 0, or names of dynamic dimensions."""
        values = self._list(key, limit)
        for index, value in enumerate(values):
            named = isinstance(value, str) and 0 < len(value) <= MAX_STRING
            sized = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER
            if not named and not sized:
                self.refuse(f"{key}[{index}]", f"is {_short(value)}, expected a size or a dimension's name")
        return tuple(values)

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return None for null, else what `read` makes of the key: ``fields.optional("serial", fields.integer)``."""
        if key in self._values and self._values[key] is None:
            del self._values[key]
            return None
        return read(key)

    def _take(self, key: str) -> Any:  # noqa: ANN401 - the one place where JSON is still untyped
        if key not in self._values:
            self.refuse(key, "is missing")
        return self._values.pop(key)

    def _list(self, key: str, limit: int) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, list):
            self.refuse(key, f"is {_kind(value)}, expected a list")
        if len(value) > limit:
            self.refuse(key, f"has {len(value)} entries, at most {limit} are allowed")
        return value

    def _join(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def document(text: str | bytes, *, where: str, error: type[InputError] = InputError) -> Fields:
    """Parse one JSON object.

    text: UTF-8, already bounded in size by the caller.   where: the file or stream, for messages.
    Raises `error` when it is not JSON, not an object, nested too deeply, names a key twice, or holds NaN or Infinity.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    def constant(name: str) -> Never:
        raise ValueError(f"{name} is no JSON number")

    try:
        # json would guess at UTF-16 and skip a byte order mark: the formats are UTF-8
        plain = text.decode() if isinstance(text, bytes) else text
        value = json.loads(plain, object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as problem:
        raise error(
            f"not valid JSON: {str(problem)[:200]}", where, "the file is damaged or was not written by edge"
        ) from problem
    if _depth(value) > MAX_DEPTH:
        raise error(f"nested deeper than {MAX_DEPTH} levels", where, "the file was not written by edge")
    return Fields(value, where, "", error)


def envelope(fields: Fields, *, kind: str, schema: int, what: str) -> int:
    """Check a document's kind and schema before anything else is read from it; return the schema it was written in.

    A newer schema is refused with the remedy: another version of edge. `what` names the thing for people.
    """
    found = fields.string("kind")
    if found != kind:
        fields.refuse("kind", f"is {found[:80]!r}, expected {kind!r}", f"this is no {what}; check the path")
    written = fields.integer("schema", low=1)
    if written > schema:
        fields.refuse(
            "schema",
            f"is {written}, this version of edge reads up to {schema}",
            f"upgrade edge to one that reads schema {written}, or make the {what} again with this version",
        )
    return written


def finite(value: float) -> float | None:
    """Return the value, or None where JSON has no number for it: NaN and the infinities."""
    return value if math.isfinite(value) else None


def as_json(value: Mapping[str, Any]) -> str:
    """Return the one way we write JSON: keys in the given order, no NaN, lists of plain values on one line."""
    # a path that is no UTF-8 reaches us as lone surrogates, which only an escape can carry
    return (_written(value, "") + "\n").encode("utf-8", "backslashreplace").decode()


def _written(value: object, indent: str) -> str:
    deeper = indent + "  "
    if isinstance(value, Mapping) and value:
        items = [
            f"{deeper}{json.dumps(key, ensure_ascii=False)}: {_written(item, deeper)}" for key, item in value.items()
        ]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        return "[\n" + ",\n".join(deeper + _written(item, deeper) for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _depth(value: object) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            break
        if isinstance(item, dict):
            waiting.extend((child, level + 1) for child in item.values())
        elif isinstance(item, list):
            waiting.extend((child, level + 1) for child in item)
    return deepest


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a number",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _short(value: object) -> str:
    # repr of an integer of thousands of digits raises; Python's limit protects us and the message says enough
    try:
        return repr(value)[:60]
    except ValueError:
        return "an enormous integer"
