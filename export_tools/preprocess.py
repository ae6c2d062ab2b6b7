"""What ``--preprocess`` says: the units an input comes in, and the steps from there to what the module takes.

``image:uint8-hwc-rgb,resize=224x224:bilinear,mean=0.485,0.456,0.406,std=0.229,0.224,0.225`` or a TOML file with a table
for each input. Text to checked values, nothing of torch: `folded` does the steps inside the graph. The conventions are
torchvision's: pixels are resized, then scaled to 0..1, then normalised as ``(x - mean) / std``. Unlike torchvision on
uint8 tensors, a resized pixel is not rounded to a whole number in between.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime import files
from edge_runtime.errors import InputError, UsageError

METHODS = ("bilinear", "bilinear-antialias", "nearest")
MAX_SIZE = 16_384
MAX_TOML_BYTES = 1 << 20
FLAG = "--preprocess"
EXAMPLE = "image:uint8-hwc-rgb,resize=224x224:bilinear,mean=0.485,0.456,0.406,std=0.229,0.224,0.225"


class Form(NamedTuple):
    """How values come in. layout: the axes in order, "" for those of the module's own input. channels: 0 for sound."""

    dtype: str
    layout: str
    channels: int
    scale: Fraction
    low: int
    high: int
    words: str


_BYTE = (Fraction(1, 255), 0, 255)
FORMS = {
    "uint8-hwc-rgb": Form("uint8", "hwc", 3, *_BYTE, "uint8 RGB image, height × width × 3"),
    "uint8-hwc-bgr": Form("uint8", "hwc", 3, *_BYTE, "uint8 BGR image, height × width × 3"),
    "uint8-hw-gray": Form("uint8", "hw", 1, *_BYTE, "uint8 grey image, height × width"),
    "uint8-nhwc-rgb": Form("uint8", "nhwc", 3, *_BYTE, "uint8 RGB images, count × height × width × 3"),
    "uint8-nhwc-bgr": Form("uint8", "nhwc", 3, *_BYTE, "uint8 BGR images, count × height × width × 3"),
    "uint8-nhw-gray": Form("uint8", "nhw", 1, *_BYTE, "uint8 grey images, count × height × width"),
    "int16-mono": Form("int16", "", 0, Fraction(1, 32768), -32768, 32767, "int16 samples of one channel of sound"),
}
_KEYS = ("resize", "scale", "mean", "std")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """The steps for one input, by its final name. size: height and width to resize to, by `method`.

    scale: what each value is multiplied with.   mean, std: one for each channel, or one for all; in scaled units.
    Raises UsageError at birth for what can't be meant.
    """

    input: str
    form: str
    size: tuple[int, int] | None = None
    method: str = METHODS[0]
    scale: Fraction
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        where = f"{FLAG} {self.input}"
        form = FORMS.get(self.form)
        if not self.input or form is None:
            raise UsageError(f"{self.form!r} for {self.input!r}", FLAG, f"INPUT:FORM, one of {', '.join(FORMS)}")
        if self.size is not None and not form.channels:
            raise UsageError("sound can't be resized", where, "leave resize out")
        if self.size is not None and not all(1 <= side <= MAX_SIZE for side in self.size):
            raise UsageError(f"resize to {self.size[0]}x{self.size[1]}", where, f"give 1x1 to {MAX_SIZE}x{MAX_SIZE}")
        if self.method not in METHODS:
            raise UsageError(f"no resizing {self.method!r}", where, f"one of {', '.join(METHODS)}")
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in {1, form.channels or 1}:
                hint = f"give one, or {form.channels} for the channels" if form.channels > 1 else "give one"
                raise UsageError(f"{key} has {len(values)} values", where, hint)
            if not all(math.isfinite(value) for value in values):
                raise UsageError(f"{key} is no finite number", where, "give numbers such as 0.485")
        if not all(value > 0 for value in self.std) or not self.scale > 0:
            raise UsageError("std and scale divide or multiply", where, "give numbers above 0")

    def __str__(self) -> str:
        """Return the text that `parse` reads back."""
        resize = "" if self.size is None else f",resize={self.size[0]}x{self.size[1]}:{self.method}"
        numbers = "".join(f",{key}={','.join(map(repr, values))}" for key, values in self._given())
        return f"{self.input}:{self.form}{resize},scale={self.scale}{numbers}"

    @property
    def least_opset(self) -> int:
        """The opset that can express the steps. Source: onnx's Changelog.md, Resize of 11 and 18."""
        if self.size is None:
            return 1
        # before 11 it knew no half-pixel centres, which is how PyTorch resizes
        return 18 if self.method == "bilinear-antialias" else 11

    @property
    def why_opset(self) -> str:
        """What of the steps asks for that opset."""
        return f"resize={self.method} of {self.input}"

    @property
    def meaning(self) -> str:
        """What the input is, for people: how it comes, and what the graph does with it."""
        form = FORMS[self.form]
        steps = [form.words]
        if self.size is not None:
            method = "nearest pixel" if self.method == "nearest" else self.method.replace("-a", " with a")
            steps.append(f"resized to {self.size[0]}×{self.size[1]}, {method}")
        steps.append(f"times {self.scale}")
        steps += [f"{key} {', '.join(f'{value:g}' for value in values)}" for key, values in self._given()]
        return "; ".join(steps)

    @property
    def values(self) -> tuple[float, float]:
        """The least and the largest value that can come in."""
        form = FORMS[self.form]
        return float(form.low), float(form.high)

    def refuse_unlike(self, dtype: str, shape: Sequence[int], where: str) -> None:
        """Raise InputError for an example that isn't of this form."""
        form = FORMS[self.form]
        fits = dtype == form.dtype and len(form.layout) in {0, len(shape)}
        if fits and form.layout.endswith("c"):
            fits = shape[-1] == form.channels
        if not fits:
            hint = f"give it as {form.words}: --example {self.input}={_sizes(form)}:{form.dtype}"
            raise InputError(f"{self.input} is {dtype}{list(shape)}, {FLAG} says {self.form}", where, hint)

    def _given(self) -> list[tuple[str, tuple[float, ...]]]:
        return [
            (key, values)
            for key, values, plain in (("mean", self.mean, 0.0), ("std", self.std, 1.0))
            if values != (plain,)
        ]


def _sizes(form: Form) -> str:
    return (
        "x".join({"h": "480", "w": "640", "n": "2", "c": str(form.channels)}[axis] for axis in form.layout) or "1x16000"
    )


def parse(texts: Sequence[str]) -> tuple[Preprocess, ...]:
    """Read the flags: ``INPUT:FORM[,resize=HxW:METHOD][,scale=1/255][,mean=A,B,C][,std=A,B,C]``, or ``FILE.toml``.

    Raises UsageError for a flag or file that makes no sense, InputError for a file that is no TOML.
    """
    found: list[Preprocess] = []
    for text in texts:
        found += _from_file(Path(text)) if text.endswith(".toml") else [parse_one(text)]
    names = [one.input for one in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name!r} is preprocessed twice", FLAG, "say all of an input's steps in one place")
    return tuple(found)


def parse_one(text: str) -> Preprocess:
    """Read one flag that is no file; raise UsageError."""
    head, *parts = text.split(",")
    name, colon, form = head.rpartition(":")
    if not colon:
        raise UsageError(f"{text!r} says nothing of an input", FLAG, f"INPUT:FORM,..., as {EXAMPLE}")
    values: dict[str, list[str]] = {}
    key = ""
    for part in parts:
        before, equals, after = part.partition("=")
        if equals:  # what has no "=" is one more number of the key before
            key = before
            if key in values:
                raise UsageError(f"{key} is there twice", f"{FLAG} {name}", "say it once")
        values.setdefault(key, []).append(after if equals else part)
    return _made(name, form, {key: ",".join(texts) for key, texts in values.items()})


def _from_file(path: Path) -> list[Preprocess]:
    text = files.read_bytes(path, limit_bytes=MAX_TOML_BYTES, error=InputError)
    try:
        document: dict[str, Any] = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InputError(f"no TOML: {problem}", str(path), "give a table for each input: [image]") from problem
    found = []
    for name, table in document.items():
        if not isinstance(table, dict):
            raise UsageError(f"{name} is no table", str(path), f"give a table for each input: [{name}]")
        given = {key: _as_text(value) for key, value in table.items()}
        found.append(_made(name, given.pop("form", ""), given))
    return found


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _made(name: str, form: str, given: Mapping[str, str]) -> Preprocess:
    where = f"{FLAG} {name}"
    unknown = [key for key in given if key not in _KEYS]
    if unknown:
        raise UsageError(f"unknown step {unknown[0]!r}", where, f"one of {', '.join(_KEYS)}, as {EXAMPLE}")
    options: dict[str, Any] = {}
    if "resize" in given:
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})(?::([\w-]+))?", given["resize"])
        if found is None:
            raise UsageError(f"resize={given['resize']}", where, "HEIGHTxWIDTH:METHOD, as 224x224:bilinear")
        options |= {"size": (int(found[1]), int(found[2])), "method": found[3] or METHODS[0]}
    try:
        scale = Fraction(given["scale"]) if "scale" in given else FORMS[form].scale if form in FORMS else Fraction(1)
        options |= {key: tuple(float(one) for one in given[key].split(",")) for key in ("mean", "std") if key in given}
    except (ValueError, ZeroDivisionError) as problem:
        raise UsageError(f"a number that is none: {problem}", where, "scale=1/255,mean=0.485,0.456,0.406") from problem
    return Preprocess(input=name, form=form, scale=scale, **options)
