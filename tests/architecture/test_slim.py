"""The part that ships to boards needs numpy and onnxruntime, and loads them no sooner than a verb needs them."""

import json
import os
import subprocess
import sys
import textwrap
import venv
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
START_WORDS = [
    ["--help"],
    ["--version"],
    ["info", "ARTIFACT"],
    ["run", "--help"],
    ["measure", "--help"],
    ["profile", "--help"],
    ["doctor", "--help"],
]
HEAVY = ("torch", "onnx", "rich", "numpy", "onnxruntime", "onnxscript", "psutil", "netron")


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nsys.stderr.write(' '.join(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("words", START_WORDS)
def test_the_command_line_loads_nothing_heavy_before_a_verb_needs_it(tiny_edge: Path, words: list[str]) -> None:
    words = [str(tiny_edge) if word == "ARTIFACT" else word for word in words]
    loaded = loaded_after(f"from edge_runtime.cli import main\nassert main({words!r}) == 0")
    assert "edge_runtime" in loaded
    assert not loaded & set(HEAVY)


def test_importing_the_package_loads_the_standard_library_alone() -> None:
    third_party = loaded_after("import edge_runtime") - loaded_after("pass") - sys.stdlib_module_names
    assert third_party == {"edge_runtime"}


def test_a_called_model_loads_numpy_and_onnxruntime_and_no_other_package(tiny_edge: Path) -> None:
    code = f"import edge_runtime, os\nedge_runtime.load({str(tiny_edge)!r})"
    third_party = loaded_after(code) - loaded_after("pass") - sys.stdlib_module_names
    assert {name for name in third_party if not name.startswith("_")} == {"edge_runtime", "numpy", "onnxruntime"}


# Python runs a .pth file's import lines at every start, in workers too. The first finder asked refuses what is neither
# standard library nor allowed, and each process leaves a file that says the hook was there.
GUARD = """
import os
import sys

# "org": the standard library asks for Jython's org.python.core
ALLOWED = {"numpy", "onnxruntime", "edge_runtime", "slim_guard", "sitecustomize", "usercustomize", "org"}
ALLOWED |= set(sys.stdlib_module_names)


class Guard:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ALLOWED or top.startswith("_"):
            return None
        with open(os.path.join(os.environ["SLIM_MARKS"], f"refused-{os.getpid()}"), "a") as note:
            note.write(name + "\\n")
        raise ImportError(f"the slim environment has no {name}")


if "SLIM_MARKS" in os.environ:
    sys.meta_path.insert(0, Guard)
    # an .pth line runs before -m is known; the whole command stands in /proc
    with open("/proc/self/cmdline") as command, open(f"{os.environ['SLIM_MARKS']}/{os.getpid()}", "w") as mark:
        mark.write(command.read().replace("\\0", " "))
"""


class Slim(NamedTuple):
    edge: Path
    marks: Path
    python: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP"))}
        return subprocess.run(
            [str(self.edge), *words],
            env={**environment, "SLIM_MARKS": str(self.marks)},
            cwd=self.marks,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def commands(self) -> list[str]:
        return [mark.read_text() for mark in self.marks.iterdir() if mark.name.isdigit()]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with numpy, onnxruntime and this project, each without its dependencies."""
    folder = tmp_path_factory.mktemp("slim") / "env"
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    # built from a copy: a build leaves its folders beside pyproject.toml
    source = folder.parent / "source"
    files = ["pyproject.toml", "README.md", "LICENSE", "edge_runtime", "export_tools", "bench"]
    source.mkdir()
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in files), str(source)], check=True)
    wanted = [f"numpy=={version('numpy')}", f"onnxruntime=={version('onnxruntime')}", str(source)]
    subprocess.run(
        [*pip, "install", "-q", "--no-deps", "--progress-bar", "off", "--root-user-action", "ignore", *wanted],
        check=True,
        timeout=240,
    )
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "slim_guard.py").write_text(textwrap.dedent(GUARD))
    (site / "slim_guard.pth").write_text("import slim_guard\n")
    return folder


@pytest.fixture
def slim(environment: Path, tmp_path: Path) -> Slim:
    return Slim(environment / "bin" / "edge", tmp_path, environment / "bin" / "python")


def test_the_guard_refuses_what_a_board_does_not_have(slim: Slim) -> None:
    done = subprocess.run(
        [str(slim.python), "-c", "import json, numpy\nimport rich"],
        env={"SLIM_MARKS": str(slim.marks)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "the slim environment has no rich" in done.stderr
    assert [mark.read_text() for mark in slim.marks.glob("refused-*")] == ["rich\n"]


def test_only_three_packages_are_installed(environment: Path) -> None:
    (site,) = environment.glob("lib/python*/site-packages")
    assert sorted(entry.name.partition("-")[0] for entry in site.glob("*.dist-info")) == [
        "edge_runtime",
        "numpy",
        "onnxruntime",
    ]


@pytest.mark.parametrize("verb", ["info", "run", "check", "measure"])
def test_every_verb_of_a_board_works_with_numpy_and_onnxruntime_alone(slim: Slim, tiny_edge: Path, verb: str) -> None:
    more = {"run": ["--input", str(tiny_edge / "golden" / "case1.npz")], "measure": ["--launches", "1"]}
    done = slim.run(verb, str(tiny_edge), "--json", *more.get(verb, []))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == {"measure": "edge-record"}.get(verb, f"edge-{verb}")
    workers = [command for command in slim.commands() if "edge_runtime.worker" in command]
    assert len(workers) == (5 if verb == "measure" else 0)  # one warms the cache, three tell memory, one time
    assert any(command.split()[1:2] == [str(slim.edge)] for command in slim.commands())
    assert list(slim.marks.glob("refused-*")) == []


def test_the_doctor_needs_no_more_and_tells_what_is_there(slim: Slim) -> None:
    done = slim.run("doctor", "--json")
    assert done.returncode in {0, 1}, done.stderr  # 1: this machine may be busy
    document = json.loads(done.stdout)
    assert document["software"]["failure"] == ""
    assert document["software"]["onnxruntime"]
    assert list(slim.marks.glob("refused-*")) == []


def test_host_verbs_say_what_brings_them(slim: Slim) -> None:
    # without the guard, which would refuse even the question whether rich is there
    done = subprocess.run(
        [str(slim.edge), "bench", "x.edge"], env={}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 5
    assert 'pip install "edge-runtime[bench]"' in done.stderr
