"""The arrows of ARCHITECTURE.md, as import-linter reads them from pyproject.toml."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_contract_of_the_architecture_is_kept() -> None:
    # in a process of its own, because it sets up logging, and with that silences the loggers of other tests
    lint = "import sys; from importlinter import cli; sys.exit(cli.lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_contracts_that_the_architecture_promises_are_there() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = {contract["name"]: contract for contract in linter["contracts"]}
    assert set(linter["root_packages"]) == {"edge_runtime", "export_tools", "bench"}
    assert contracts["packages point one way"]["layers"] == ["bench", "export_tools", "edge_runtime"]
    board = contracts["board sees no host package"]
    assert board["source_modules"] == ["edge_runtime"]
    assert {"torch", "onnx", "psutil", "rich"} <= set(board["forbidden_modules"])
    assert "ignore_imports" not in board
    doors = contracts["onnxruntime has its doors"]["ignore_imports"]
    assert [door for door in doors if door.startswith("edge_runtime")] == ["edge_runtime.session -> onnxruntime"]
