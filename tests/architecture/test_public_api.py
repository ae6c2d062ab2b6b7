"""Every public name can be imported, is explained, and hides no module of the same name."""

import ast
import doctest
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from edge_runtime.manifest import State
from tests import fakes

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["edge_runtime", "export_tools", "bench"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_documented(package: str) -> None:
    module = import_module(package)
    assert module.__all__
    assert module.__all__ == sorted(module.__all__)
    assert module.__doc__
    for name in module.__all__:
        assert (getattr(module, name).__doc__ or "").strip(), f"{package}.{name} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_bears_the_name_of_a_public_function(package: str) -> None:
    # importing the module would put it in the place of the function
    module = import_module(package)
    modules = {file.stem for file in (ROOT / package).glob("*.py")}
    assert modules
    assert not modules & set(module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = import_module(package).no_such_name


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_a_star_import_brings_the_public_names_alone() -> None:
    code = (
        "from edge_runtime import *\n"
        "import edge_runtime\n"
        "print(sorted(n for n in dir() if n[0] != '_' and n != 'edge_runtime') == edge_runtime.__all__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "True\n", done.stderr


SNAPSHOT = Path(__file__).with_name("public_api.txt")
SPECIAL = {"__call__", "__enter__", "__exit__"}  # users make none of these objects by hand


def public_api() -> str:
    """Return every public name with its signature as it stands in the source, one a line."""
    lines = []
    for package in PACKAGES:
        for name in import_module(package).__all__:
            thing = getattr(import_module(package), name)
            (node,) = ast.parse(inspect.getsource(thing)).body
            lines += described(f"{package}.{name}", node)
    return "\n".join(lines) + "\n"


def described(name: str, node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)
        arguments = "" if is_property else f"({ast.unparse(node.args)})"
        returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return [f"{name}{arguments}{returned}"]
    if isinstance(node, ast.AnnAssign):
        default = f" = {ast.unparse(node.value)}" if node.value else ""
        return [f"{name}: {ast.unparse(node.annotation)}{default}"]
    assert isinstance(node, ast.ClassDef)
    lines = [f"class {name}({', '.join(ast.unparse(base) for base in node.bases)})".replace("()", "")]
    for inner in node.body:
        inner_name = str(getattr(inner, "name", None) or getattr(getattr(inner, "target", None), "id", "_"))
        if not inner_name.startswith("_") or inner_name in SPECIAL:
            lines += described(f"{name}.{inner_name}", inner)
    return lines


def test_the_public_names_and_signatures_change_only_on_purpose() -> None:
    # on purpose: python tests/architecture/test_public_api.py, and a line in CHANGELOG.md
    assert public_api() == SNAPSHOT.read_text()


def test_the_examples_in_public_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.write_artifact(tmp_path / "tiny.edge", fakes.tiny())
    state = (State(input="total_in", output="total_out"),)
    fakes.write_artifact(tmp_path / "counting.edge", fakes.counting(), state=state)
    monkeypatch.chdir(tmp_path)
    package = import_module("edge_runtime")
    runner, tried = doctest.DocTestRunner(), set()
    for name in package.__all__:
        for test in doctest.DocTestFinder().find(getattr(package, name), name, globs={}):
            result = runner.run(test)
            assert result.failed == 0, test.name
            tried |= {name} if result.attempted else set()
    assert tried >= {"BoundCall", "EdgeError", "Model", "StatefulCall", "check", "load", "open_artifact"}


if __name__ == "__main__":
    SNAPSHOT.write_text(public_api())
