"""Preprocessing and postprocessing inside the graph: hooks around the module's forward, which every exporter traces.

As hooks they leave the module's parameters, their names and forward's signature alone, and run wherever the module
does: in float32, in its float64 copy, in both exporters, and in a benchmark. Runs in the process that holds the module.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils import _pytree

from edge_runtime.errors import UsageError
from export_tools.errors import SourceError
from export_tools.postprocess import FLAG as POSTPROCESS
from export_tools.postprocess import Postprocess
from export_tools.preprocess import FORMS, Preprocess


@dataclass(slots=True)
class Folded:
    """What was put around a module, known once forward has run.

    place: of the output that is postprocessed.   classes: the size of its last axis before.
    """

    place: int | None = None
    classes: int | None = None


def fold_in(
    module: torch.nn.Module,
    preprocess: Sequence[Preprocess],
    postprocess: Postprocess | None,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str] = (),
) -> Folded:
    """Let the module take raw inputs and give finished outputs.

    inputs: the final name of each tensor that forward takes, in its order.   outputs: final names as far as given.
    Raises UsageError for names that aren't there.
    """
    folded = Folded()
    steps: dict[int, Preprocess] = {}
    for one in preprocess:
        if one.input not in inputs:
            raise UsageError(f"no input {one.input!r}", "--preprocess", f"the inputs are {', '.join(inputs)}")
        steps[list(inputs).index(one.input)] = one

    order = {name: place for place, name in enumerate(inspect.signature(module.forward).parameters)}

    def before(
        owner: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ordered = {name: kwargs[name] for name in sorted(kwargs, key=lambda name: order.get(name, len(order)))}
        leaves, structure = _pytree.tree_flatten((args, ordered))
        tensors = [place for place, leaf in enumerate(leaves) if leaf is not None]
        for index, one in steps.items():
            leaves[tensors[index]] = prepared(leaves[tensors[index]], one, _dtype(owner))
        changed: tuple[tuple[Any, ...], dict[str, Any]] = _pytree.tree_unflatten(leaves, structure)
        return changed

    def after(_owner: torch.nn.Module, _args: object, returned: object) -> tuple[torch.Tensor, ...]:
        leaves = [leaf for leaf in _pytree.tree_leaves(returned) if leaf is not None]
        assert postprocess is not None  # noqa: S101 - registered with it alone
        place = _place(postprocess.output, leaves, outputs)
        if not (torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting()):
            folded.place, folded.classes = place, _classes(leaves[place], postprocess)
        leaves[place : place + 1] = finished(leaves[place], postprocess)
        return tuple(leaves)

    if steps:
        module.register_forward_pre_hook(before, with_kwargs=True)
    if postprocess is not None:
        module.register_forward_hook(after)
    return folded


def prepared(raw: torch.Tensor, step: Preprocess, dtype: torch.dtype) -> torch.Tensor:
    """Return what the module takes for a raw input.

    Images of the forms in `preprocess.FORMS` become dtype[n, channels, height, width], RGB; sound keeps its shape.
    """
    form = FORMS[step.form]
    values = raw.to(dtype)
    if form.layout:
        if form.layout[0] != "n":
            values = values.unsqueeze(0)
        values = values.permute(0, 3, 1, 2) if form.channels > 1 else values.unsqueeze(1)
    if step.size is not None:
        method = step.method.partition("-")[0]
        smooth = {} if method == "nearest" else {"align_corners": False, "antialias": step.method != method}
        values = functional.interpolate(values, size=step.size, mode=method, **smooth)
    if step.form.endswith("bgr"):
        values = values.flip(1)  # mostly fewer pixels than before resizing
    # (x * scale - mean) / std in one product and one sum: a pass over the image less
    count = max(len(step.mean), len(step.std))
    means, stds = (list(one) * (count // len(one)) for one in (step.mean, step.std))
    factor = [float(step.scale) / std for std in stds]
    offset = [-mean / std for mean, std in zip(means, stds, strict=True)]
    values = values * _constant(factor, dtype)
    return values + _constant(offset, dtype) if any(offset) else values


def finished(scores: torch.Tensor, step: Postprocess) -> list[torch.Tensor]:
    """Return the outputs that take the place of one: probabilities, or int64 indices, or both of the top ones."""
    if step.argmax:
        return [scores.argmax(-1)]
    if step.softmax:
        scores = scores.softmax(-1)
    return list(torch.topk(scores, step.top)) if step.top else [scores]


def raw_example(
    tensors: Sequence[torch.Tensor],
    inputs: Sequence[str],
    preprocess: Sequence[Preprocess],
    *,
    ranges: Mapping[str, tuple[float, float]],
    seed: int,
    where: str,
) -> list[torch.Tensor]:
    """Return an example in raw units for one in the module's own: random values of the same sizes.

    ranges: the values that an input is meant to take, by name; else all that its dtype holds.
    Raises SourceError when the module takes another number of channels, or the size of the frames is anybody's.
    """
    found = list(tensors)
    generator = torch.Generator().manual_seed(seed)
    by_name: Mapping[str, Preprocess] = {one.input: one for one in preprocess}
    for place, name in enumerate(inputs):
        step = by_name.get(name)
        if step is None:
            continue
        form, shape = FORMS[step.form], tuple(tensors[place].shape)
        if step.size is not None:
            hint = f"describe every input as it comes: --example {name}=480x640x3:uint8"
            raise SourceError(f"nothing shows how large {name} is before it is resized", where, hint)
        if form.layout:
            if len(shape) != 4 or shape[1] != form.channels:  # noqa: PLR2004 - images are n, c, h, w
                told = f"the module takes {name} as {list(shape)}, {step.form} becomes [n, {form.channels}, h, w]"
                raise SourceError(told, where, "choose the form that fits, or permute in forward")
            sizes = dict(zip("nchw", shape, strict=True))
            shape = tuple(sizes[axis] for axis in form.layout)
        dtype = {"uint8": torch.uint8, "int16": torch.int16}[form.dtype]
        low, high = ranges.get(name, step.values)
        found[place] = torch.randint(math.ceil(low), math.floor(high) + 1, shape, dtype=dtype, generator=generator)
    return found


def _constant(values: list[float], dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.tensor(values, dtype=dtype)
    return tensor if len(values) == 1 else tensor.reshape(-1, 1, 1)


def _dtype(module: torch.nn.Module) -> torch.dtype:
    owned = [*module.parameters(), *module.buffers()]
    return next((tensor.dtype for tensor in owned if tensor.is_floating_point()), torch.get_default_dtype())


def _place(name: str, leaves: Sequence[Any], outputs: Sequence[str]) -> int:
    # names behind the one that top splits in two are shifted; those before it are not
    default = ["output", *(f"output_{index}" for index in range(1, len(leaves)))]
    known = list(outputs[: len(leaves)]) or default
    if name in known or (not name and len(leaves) == 1):
        return known.index(name) if name else 0
    what = f"no output {name!r}" if name else f"it could be any of {len(leaves)} outputs"
    raise UsageError(what, POSTPROCESS, f"say which: OUTPUT:softmax; the outputs are {', '.join(known)}")


def _classes(scores: torch.Tensor, step: Postprocess) -> int:
    if scores.ndim == 0 or not scores.is_floating_point():
        raise UsageError(
            f"the output is {str(scores.dtype).removeprefix('torch.')}{list(scores.shape)}",
            POSTPROCESS,
            "classes need floating-point scores along a last axis",
        )
    if step.top and step.top > scores.shape[-1]:
        raise UsageError(f"top{step.top} of {scores.shape[-1]} classes", POSTPROCESS, "ask for fewer")
    return int(scores.shape[-1])
