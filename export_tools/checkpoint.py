"""Weights from a file into a module, without running code: state_dicts and what training loops wrap them in.

A torch door. Files of torch.save are read with ``weights_only``; safetensors and ``.npz`` hold nothing but arrays.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from edge_runtime import npz
from edge_runtime.errors import EdgeError
from export_tools.errors import SourceError

# Where training loops put the weights in a checkpoint; of several the first is taken, and the others are named
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
AVERAGED = ("ema", "ema_state_dict", "model_ema", "state_dict_ema", "params_ema")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")  # of DataParallel, torch.compile, Lightning and its like
COMPILED = "_orig_mod."  # torch.compile puts it in the middle too, where a part of a module was compiled
MAX_NESTED = 3
SHOWN = 8  # keys of each kind: enough to recognise the other module
_HINT = "save one with torch.save(module.state_dict(), FILE), or give the .safetensors or .npz of it"


def load_weights(module: torch.nn.Module, path: Path) -> tuple[str, ...]:
    """Load a file's weights into a module; return what was unwrapped or converted on the way, as sentences.

    Raises SourceError for a file that is no weights, and with all missing, unexpected and misshapen keys for weights
    that are another module's.
    """
    if not path.is_file():
        raise SourceError("no such file of weights", str(path), "check the path given as --weights")
    found, told = _unwrapped(_read(path), path)
    wanted = module.state_dict()
    weights, stripped = _without_prefixes(found, wanted.keys())
    told += [f"the prefix {prefix} was taken off its keys" for prefix in stripped]
    _refuse_another_modules(weights, wanted, path)
    try:
        # a module that was built on the meta device has no place of its own for them
        module.load_state_dict(weights, assign=any(one.is_meta for one in module.parameters()))
    except RuntimeError as problem:
        said = " ".join(str(problem).split())[:400]
        raise SourceError(f"the weights don't fit: {said}", str(path), "build the module they belong to") from problem
    told += _converted(weights, wanted)
    return tuple(f"{path.name}: {sentence}" for sentence in told)


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever somebody saved
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix == ".npz":
        try:
            return {name: torch.from_numpy(array) for name, array in npz.read(path).items()}
        except (EdgeError, TypeError) as problem:
            said = problem.what if isinstance(problem, EdgeError) else str(problem)
            raise SourceError(
                f"no weights: {said}", str(path), "save arrays by key: numpy.savez(FILE, **{...})"
            ) from problem
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:
        # torch raises UnpicklingError, RuntimeError, EOFError, KeyError … by what is wrong with the file
        said = " ".join(str(problem).split())[:200]
        raise SourceError(f"no state_dict: {said}", str(path), _HINT) from problem


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError  # noqa: PLC0415 - only such files need it
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        return load_file(path)
    except SafetensorError as problem:
        raise SourceError(f"no safetensors file: {problem}", str(path), _HINT) from problem


def _unwrapped(loaded: Any, path: Path) -> tuple[dict[str, Any], list[str]]:  # noqa: ANN401 - as `_read` gives it
    keys: list[str] = []
    for _ in range(MAX_NESTED):
        if not isinstance(loaded, Mapping):
            break
        inner = [key for key in (*WRAPPERS, *AVERAGED) if isinstance(loaded.get(key), Mapping)]
        # a module may have a part called "model" that is no mapping; weights at this level mean that we are there
        if not inner or any(isinstance(value, torch.Tensor) for value in loaded.values()):
            break
        others = f" (it also holds {', '.join(inner[1:])})" if inner[1:] else ""
        keys.append(f"{inner[0]}{others}")
        loaded = loaded[inner[0]]
    kind = type(loaded).__name__
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded):
        raise SourceError(f"it holds a {kind}, no state_dict", str(path), _HINT)
    if loaded and not any(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise SourceError(f"no weights under any of its keys: {_shown(loaded)}", str(path), _HINT)
    return dict(loaded), [f"the weights were found under {' → '.join(keys)}"] if keys else []


def _without_prefixes(found: dict[str, Any], wanted: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the weights by the module's own keys, as far as prefixes are all that is between them."""
    known, stripped = set(wanted), []
    while found and not known & found.keys():
        prefix = next((one for one in PREFIXES if all(key.startswith(one) for key in found)), None)
        if prefix is None:
            break
        found = {key.removeprefix(prefix): value for key, value in found.items()}
        stripped.append(prefix)
    if any(COMPILED in key and key not in known for key in found):
        found = {key if key in known else key.replace(COMPILED, ""): value for key, value in found.items()}
        stripped.append(COMPILED)
    return found, list(dict.fromkeys(stripped))


def _refuse_another_modules(weights: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    missing = [key for key in wanted if key not in weights]
    unexpected = [key for key in weights if key not in wanted]
    misshapen = [
        f"{key} {tuple(weights[key].shape)} for {tuple(value.shape)}"
        for key, value in wanted.items()
        if isinstance(weights.get(key), torch.Tensor)
        and isinstance(value, torch.Tensor)
        and weights[key].shape != value.shape
        and not torch.nn.parameter.is_lazy(value)  # takes the shape of its weights
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    told = [f"{len(keys)} {what}: {_shown(keys)}" for what, keys in kinds if keys]
    if told:
        raise SourceError(
            f"the weights are not this module's: {'; '.join(told)}",
            str(path),
            "build the module that they belong to, or give its own weights",
        )


def _converted(weights: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    pairs = {
        f"{_dtype(weights[key])} weights became {_dtype(value)}, as the module's are"
        for key, value in wanted.items()
        if isinstance(value, torch.Tensor)
        and isinstance(weights.get(key), torch.Tensor)
        and weights[key].dtype != value.dtype
    }
    return sorted(pairs)


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shown(keys: Iterable[str]) -> str:
    listed = [str(key)[:100] for key in keys]
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
