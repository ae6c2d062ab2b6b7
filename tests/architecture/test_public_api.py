"""Every public name can be imported, is explained, and hides no module of the same name."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

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
