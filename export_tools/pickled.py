"""Whole-module pickles, and the script that a module was pickled from.

A pickle is a program that torch runs while it loads; so this needs the user's word (`SourceSpec.trust_pickle`).
"""

import ast
import importlib.util
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch

from export_tools.errors import SourceError
from export_tools.request import SourceSpec

_NO_TRUST = (
    "a whole-module pickle is a program that runs when it is opened, whoever wrote it",
    "better: give FILE.py:callable and the state_dict as --weights; if you made the file yourself: --trust-pickle",
)


def load(spec: SourceSpec) -> torch.nn.Module:
    """Return the module of a whole-module pickle; raise SourceError for weights, or without trust."""
    path = Path(spec.cwd, spec.entry)
    if not spec.trust_pickle:
        _refuse_weights(path)
        raise SourceError(_NO_TRUST[0], str(path), _NO_TRUST[1])
    try:
        with _offered_main(spec):
            loaded = torch.load(path, map_location="cpu", weights_only=False)
    except (AttributeError, ModuleNotFoundError) as problem:
        said = " ".join(str(problem).split())[:300]
        hint = "say where the class is: --import-from DIR, or --import-from FILE.py for a script that pickled it"
        raise SourceError(f"the module's class can't be imported: {said}", str(path), hint) from problem
    except (pickle.UnpicklingError, EOFError) as problem:
        raise SourceError(
            f"a broken pickle: {problem}", str(path), "save it again with torch.save(module, FILE)"
        ) from problem
    if isinstance(loaded, torch.nn.Module):
        return loaded
    if isinstance(loaded, dict):
        raise _holds_weights(path)
    raise SourceError(f"it holds a {type(loaded).__name__}, no module", str(path), "save torch.save(module, FILE)")


def import_file(path: Path) -> ModuleType:
    """Import a file under its stem, its folder importable as when Python runs it as a script."""
    sys.path.insert(0, str(path.resolve().parent))
    # a file called copy.py must not take the place of the standard library's copy, which others still import
    name = path.stem if path.stem not in sys.modules else f"{path.stem}__source"
    found = importlib.util.spec_from_file_location(name, path.resolve())
    if found is None or found.loader is None:
        raise SourceError("it can't be imported", str(path), "give a Python file, FILE.py")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # classes look themselves up by name while the file still runs
    found.loader.exec_module(module)
    return module


def define_only(path: Path) -> ModuleType:
    """Return a module with a script's imports, classes, functions and plain constants, and nothing else run.

    For a script without ``if __name__ == "__main__"``: importing it would do its work again, which may be a training
    of hours, or save another module over the very file that is being opened.
    """
    tree = ast.parse(path.read_bytes(), filename=str(path))
    tree.body = [statement for statement in tree.body if _only_defines(statement)]
    sys.path.insert(0, str(path.resolve().parent))
    module = ModuleType(path.stem)
    module.__file__ = str(path.resolve())
    sys.modules.setdefault(path.stem, module)
    exec(compile(tree, str(path.resolve()), "exec"), module.__dict__)  # noqa: S102 - the user named this file as their code
    return module


@contextmanager
def _offered_main(spec: SourceSpec) -> Iterator[None]:
    """Offer the names of ``--import-from FILE.py`` on ``__main__`` while a pickle that a script made is read."""
    path = Path(spec.cwd, spec.import_from) if spec.import_from is not None else None
    if path is None or path.is_dir():
        yield
        return
    if not path.is_file():
        raise SourceError("no such file or folder", str(path), "check the path given as --import-from")
    script = import_file(path) if _has_guard(path) else define_only(path)
    # another object, not our own __main__ with more names on it: a class called `main` must not replace ours
    offered = ModuleType("__main__")
    offered.__dict__.update({name: value for name, value in vars(script).items() if not name.startswith("__")})
    ours = sys.modules["__main__"]
    sys.modules["__main__"] = offered
    try:
        yield
    finally:
        sys.modules["__main__"] = ours


def _has_guard(path: Path) -> bool:
    return any(
        isinstance(statement, ast.If)
        and "__name__" in ast.unparse(statement.test)
        and "__main__" in ast.unparse(statement.test)
        for statement in ast.parse(path.read_bytes(), filename=str(path)).body
    )


def _only_defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        # ``N = 4 * 32`` is a constant as much as ``N = 128``; whatever calls something is work
        return statement.value is not None and not any(
            isinstance(node, ast.Call | ast.Await | ast.NamedExpr) for node in ast.walk(statement.value)
        )
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)


def _refuse_weights(path: Path) -> None:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - whatever this safe reader refuses is not plain weights, and is judged by the caller
        return
    if isinstance(loaded, dict):
        raise _holds_weights(path)


def _holds_weights(path: Path) -> SourceError:
    return SourceError(
        "it holds weights (a state_dict), not a module",
        str(path),
        f"give what builds the module, and this as its weights: FILE.py:callable --weights {path.name}",
    )
