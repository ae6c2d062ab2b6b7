"""LiteRT on a stand-in for its interpreter and converter, in processes of its own as the real ones are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import bench
from bench.contenders import litert
from edge_runtime.contender import Job
from edge_runtime.errors import UnsupportedSystem
from edge_runtime.record import Record
from edge_runtime.rounds import Plan
from export_tools.request import SourceSpec

Quick = Callable[[int], Plan]

# a "model" is what the module answered to the inputs that it was converted with
CONVERTER = """
import numpy

class Made:
    def __init__(self, given, answers):
        self.arrays = {f"args_{i}": one.numpy() for i, one in enumerate(given)}
        self.arrays |= {f"output_{i}": one.detach().numpy() for i, one in enumerate(answers)}

    def export(self, path):
        with open(path, "wb") as stream:
            numpy.savez(stream, **self.arrays)

def convert(module, args):
    return Made(args, module(*args))
"""
INTERPRETER = """
import sys
import numpy

class Interpreter:
    def __init__(self, path, num_threads):
        self.arrays, self.given, self.threads = dict(numpy.load(path)), {}, num_threads
        with open(path + ".starts", "a") as starts:
            starts.write("with torch " if "torch" in sys.modules else "alone ")

    def allocate_tensors(self):
        pass

    def get_signature_runner(self):
        return self

    def _details(self, kind):
        return {name: {"index": name, "dtype": "float32"} for name in self.arrays if name.startswith(kind)}

    def get_input_details(self):
        return self._details("args")

    def get_output_details(self):
        return self._details("output")

    def set_tensor(self, index, array):
        self.given[index] = array

    def invoke(self):
        # others that take their turn hold the same values in other places
        def values(array):
            return numpy.sort(array, None).tolist()

        if any(values(self.given[name]) != values(self.arrays[name]) for name in self._details("args")):
            raise RuntimeError("these are not the inputs that it was converted with")

    def get_tensor(self, index):
        return self.arrays[index]

    def _get_ops_details(self):
        return [{"op_name": "SUB"}, {"op_name": "FULLY_CONNECTED"}, {"op_name": "DELEGATE"}]
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "site"
    for name in ("ai_edge_litert", "ai_edge_litert-2.3.0.dist-info"):
        (place / name).mkdir(parents=True)
    (place / "ai_edge_litert/__init__.py").touch()
    (place / "ai_edge_litert/interpreter.py").write_text(INTERPRETER)
    (place / "ai_edge_litert-2.3.0.dist-info/METADATA").write_text("Name: ai-edge-litert\nVersion: 2.3.0\n")
    (place / "litert_torch.py").write_text(CONVERTER)
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place


def raced(two_in: Path, source: Path, plan: Plan) -> Record:
    return bench(two_in, against=["litert"], source=SourceSpec(entry=f"{source}:build"), plan=plan)


def test_the_module_is_converted_once_and_later_starts_do_without_torch(
    stand_in: Path, two_in: Path, source: Path, quick: Quick, tmp_path: Path
) -> None:
    record = raced(two_in, source, quick(2))
    told = record.contenders[1]
    assert (told.failure, told.engine, told.answers.agree) == (None, "litert 2.3.0", True)
    assert (told.configuration["num_threads"], told.configuration["delegated parts"]) == ("1", "1")
    assert told.configuration["operators"] == "2"
    assert len(record.launches_of("litert")) == 2
    (starts,) = tmp_path.rglob("*.starts")
    assert starts.name == "2.3.0-2x4_2x4.tflite.starts"
    first, *later = starts.read_text().replace("with torch", "with").split()
    assert first == "with"
    assert set(later) == {"alone"}


def test_a_forward_that_takes_its_inputs_in_another_order_is_given_them_by_name(
    stand_in: Path, two_in: Path, source: Path, quick: Quick, tmp_path: Path
) -> None:
    turned = tmp_path / "turned.py"
    turned.write_text(source.read_text().replace("forward(self, left, right)", "forward(self, right, *, left)"))
    turned.write_text(turned.read_text().replace("(torch.ones(2, 4), torch.zeros(2, 4))", "None"))
    record = raced(two_in, turned, quick(1))
    assert [(one.failure, one.answers.agree) for one in record.contenders] == [(None, True), (None, True)]


def test_what_the_converter_refuses_is_unsupported_in_its_words_and_leaves_nothing(
    stand_in: Path, two_in: Path, source: Path, quick: Quick, tmp_path: Path
) -> None:
    (stand_in / "litert_torch.py").write_text("def convert(module, args): raise ValueError('no lowering of aten.foo')")
    failure = raced(two_in, source, quick(1)).contenders[1].failure
    assert failure is not None
    assert failure.kind == "skipped"
    assert "LiteRT can't convert this model: ValueError: no lowering of aten.foo" in failure.reason
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in {".part", ".tflite"}]


def test_without_its_interpreter_or_its_converter_the_extra_is_told(
    two_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert", None)
    with pytest.raises(UnsupportedSystem, match="LiteRT is not installed") as caught:
        litert.LiteRt(Job(artifact=two_in, variant="auto", threads=1, options={})).import_engine()
    assert caught.value.hint == 'install it: pip install "edge-runtime[litert]"'
