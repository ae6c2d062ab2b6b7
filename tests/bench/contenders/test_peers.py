"""The adapters of other engines, on stand-ins for those engines that compute with onnx's reference evaluator.

The engines themselves are `make peers-test`'s: they are large, and none is needed for anything else.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from bench import contenders
from bench.contenders import executorch, litert, mnn, ncnn, openvino, tract
from edge_runtime.artifact import open_artifact
from edge_runtime.contender import Contender, Job
from edge_runtime.errors import UnsupportedModel, UnsupportedSystem

Array = Any
PEERS = ("openvino", "mnn", "ncnn", "tract", "executorch", "litert")


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> Job:
    return Job(artifact=tiny, variant="auto", threads=1, options={"cache": str(tmp_path / "kept")})


def install(monkeypatch: pytest.MonkeyPatch, name: str, **parts: object) -> None:
    module = ModuleType(name)
    for key, part in parts.items():
        setattr(module, key, part)
    monkeypatch.setitem(sys.modules, name, module)


def answers_right(contender: Contender, tiny: Path) -> None:
    contender.import_engine()
    contender.load()
    artifact = open_artifact(tiny)
    cases = list(artifact.golden(artifact.variant()))
    assert len(cases) == 2
    for case in cases:
        found = contender.answers(contender.prepare(case.inputs)())
        assert found.keys() == case.outputs.keys()
        for name, wanted in case.outputs.items():
            assert np.allclose(found[name], wanted, atol=1e-5)


class Request:
    def __init__(self, evaluator: ReferenceEvaluator) -> None:
        self._evaluator = evaluator
        self._inputs: dict[str, Array] = {}
        self._outputs: dict[str, Array] = {}

    def set_tensor(self, name: str, array: Array) -> None:
        self._inputs[name] = array

    def infer(self) -> None:
        found = self._evaluator.run(None, self._inputs)
        self._outputs = dict(zip(self._evaluator.output_names, found, strict=True))

    def get_tensor(self, name: str) -> object:
        return type("Tensor", (), {"data": self._outputs[name]})


class Core:
    """What openvino.Core does, as far as the adapter asks it; `options` is what it was last told."""

    options: dict[str, object] = {}  # noqa: RUF012 - the test reads it from the class
    shapes: dict[str, list[int]] = {}  # noqa: RUF012 - as above
    refuses = False

    def set_property(self, told: Mapping[str, object]) -> None:
        Core.options = dict(told)

    def read_model(self, path: str) -> Any:
        if Core.refuses:
            raise RuntimeError("Not supported ONNX operator: Foo\nand a page of C++")
        return type("Model", (), {"path": path, "reshape": lambda self, shapes: Core.shapes.update(shapes)})()

    def compile_model(self, model: Any, device: str, options: Mapping[str, object]) -> Any:
        Core.options = {**Core.options, **options, "device": device}
        told = {"ENABLE_CPU_PINNING": True, **options}
        parts = {
            "create_infer_request": lambda _: Request(ReferenceEvaluator(model.path)),
            "get_property": lambda _, name: told[name],
        }
        return type("Compiled", (), parts)()


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> type[Core]:
    install(
        monkeypatch,
        "openvino",
        Core=Core,
        Tensor=lambda array, shared_memory: array if shared_memory else array.copy(),
        __version__="2026.4.1-1234-abc",
    )
    monkeypatch.setattr(Core, "refuses", False)
    return Core


def test_openvino_is_compiled_for_latency_static_sizes_and_everyones_threads(
    core: type[Core], job: Job, tiny: Path
) -> None:
    contender = openvino.OpenVino(job)
    answers_right(contender, tiny)
    assert core.shapes == {"input": [1, 13]}
    assert core.options == {
        "CACHE_DIR": job.options["cache"],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "device": "CPU",
    }
    assert contender.import_engine() == "openvino 2026.4.1"
    assert contender.configuration()["INFERENCE_NUM_THREADS"] == "1"


def test_an_operator_that_openvino_lacks_is_unsupported_in_its_first_words(
    core: type[Core], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "refuses", True)
    contender = openvino.OpenVino(job)
    contender.import_engine()
    with pytest.raises(UnsupportedModel) as caught:
        contender.load()
    assert caught.value.what == "OpenVINO can't read this model: RuntimeError: Not supported ONNX operator: Foo"


class MnnTensor:
    """A tensor of MNN's: what it tells is a view that is overwritten when the tensor goes, as the real one's."""

    def __init__(self, shape: Sequence[int], kind: str, array: Array, layout: str) -> None:
        assert (kind, layout, array.dtype) == ("float", "NCHW", np.float32)
        self.array = np.array(array).reshape(shape)

    def getDataType(self) -> str:  # noqa: N802 - MNN's names
        return "float"

    def copyFrom(self, other: "MnnTensor") -> None:  # noqa: N802 - as above
        self.array[...] = other.array

    def copyToHostTensor(self, other: "MnnTensor") -> None:  # noqa: N802 - as above
        other.array[...] = self.array

    def getShape(self) -> tuple[int, ...]:  # noqa: N802 - as above
        return tuple(self.array.shape)

    def getNumpyData(self) -> Array:  # noqa: N802 - as above
        return self.array

    def __del__(self) -> None:
        self.array.fill(np.nan)


class Interpreter:
    def __init__(self, path: str) -> None:
        self._evaluator = ReferenceEvaluator(Path(path).read_bytes())

    def createSession(self, options: Mapping[str, object]) -> dict[str, Any]:  # noqa: N802 - as above
        return {"options": dict(options)}

    def getSessionInput(self, session: dict[str, Any], name: str) -> MnnTensor:  # noqa: N802 - as above
        return session.setdefault(name, MnnTensor((1, 1), "float", np.zeros((1, 1), "f4"), "NCHW"))  # type: ignore[no-any-return]

    def resizeTensor(self, tensor: MnnTensor, shape: tuple[int, ...]) -> None:  # noqa: N802 - as above
        tensor.array = np.zeros(shape, "f4")

    def resizeSession(self, session: dict[str, Any]) -> None:  # noqa: N802 - as above
        rows = session["input"].array.shape[0]
        session["output"] = MnnTensor((rows, 1), "float", np.zeros((rows, 1), "f4"), "NCHW")

    def runSession(self, session: dict[str, Any]) -> None:  # noqa: N802 - as above
        (session["output"].array[...],) = self._evaluator.run(None, {"input": session["input"].array})

    def getSessionOutput(self, session: dict[str, Any], name: str) -> MnnTensor:  # noqa: N802 - as above
        return session[name]  # type: ignore[no-any-return]


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Install a stand-in for MNN; return the words its converter is given, which copies instead of converting."""
    told: list[list[str]] = []

    def convert(words: list[str]) -> None:
        told.append(words)
        options = dict(zip(words[1::2], words[2::2], strict=True))
        Path(options["--MNNModel"]).write_bytes(Path(options["--modelFile"]).read_bytes())

    install(monkeypatch, "MNN", Interpreter=Interpreter, Tensor=MnnTensor, Halide_Type_Float="float")
    monkeypatch.setattr(sys.modules["MNN"], "Tensor_DimensionType_Caffe", "NCHW", raising=False)
    install(monkeypatch, "_tools", mnnconvert=convert)
    monkeypatch.setattr(mnn, "version", lambda _: "3.6.1")
    monkeypatch.setitem(sys.modules, "MNN.tools", None)  # importing it would run pip
    return told


def test_mnn_converts_once_and_answers_with_copies(conversions: list[list[str]], job: Job, tiny: Path) -> None:
    answers_right(mnn.Mnn(job), tiny)
    again = mnn.Mnn(job)
    answers_right(again, tiny)
    assert len(conversions) == 1, "the second start finds what the first has kept"
    assert [path.name for path in Path(job.options["cache"]).iterdir()] == ["3.6.1.mnn"]
    assert again.configuration()["numThread"] == "1"


def test_a_converter_that_writes_nothing_is_unsupported_and_leaves_nothing(
    conversions: list[list[str]], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["_tools"], "mnnconvert", lambda _: None)
    with pytest.raises(UnsupportedModel, match="MNN can't convert this model"):
        mnn.Mnn(job).load()
    assert list(Path(job.options["cache"]).iterdir()) == []


PNNX = """#!{python}
import sys
from pathlib import Path
assert sys.argv[1:] == ["m.onnx", "inputshape=[8,13]f32", "fp16=0"], sys.argv
Path("m.ncnn.param").write_bytes(Path("m.onnx").read_bytes())
Path("m.ncnn.bin").write_bytes(b"weights")
Path("m_ncnn.py").write_text('''
            ex.input("in0", ncnn.Mat(in0.numpy(), batch_index=0).clone())
            _, out0 = ex.extract("out0")
            out.append(torch.from_numpy(out0.numpy(batch_index=233)))
''')
Path("counted").touch()
print("converted", len(list(Path().iterdir())))
"""


class Mat:
    def __init__(self, array: Array, batch_index: int) -> None:
        assert batch_index == 0, "what the converter's script says of in0"
        self.array = array

    def numpy(self, batch_index: int) -> Array:
        assert batch_index == 233, "what the converter's script says of out0"
        return self.array


class Net:
    def __init__(self) -> None:
        self.opt = SimpleNamespace(num_threads=0, use_packing_layout=True, use_winograd_convolution=True)
        self._evaluator: ReferenceEvaluator | None = None
        self._given: dict[str, Array] = {}

    def load_param(self, path: str) -> int:
        self._evaluator = ReferenceEvaluator(Path(path).read_bytes())
        return 0

    def load_model(self, path: str) -> int:
        return 0 if Path(path).read_bytes() == b"weights" else -1

    def create_extractor(self) -> "Net":
        return self

    def input(self, name: str, matrix: Mat) -> None:
        assert name == "in0"
        self._given["input"] = matrix.array

    def extract(self, name: str) -> tuple[int, Mat]:
        assert (name, self._evaluator is not None) == ("out0", True)
        assert self._evaluator is not None
        made = Mat(self._evaluator.run(None, self._given)[0], batch_index=0)
        return 0, made


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Install stand-ins for ncnn and its converter, whose package can't be imported; return the converter."""
    package = tmp_path / "site" / "pnnx"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('it would import torch')")
    program = package / "pnnx"
    program.write_text(PNNX.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    install(monkeypatch, "ncnn", Net=Net, Mat=Mat)
    monkeypatch.setattr(ncnn, "version", lambda _: "1.0")
    return program


def test_ncnn_converts_once_for_the_sizes_it_is_given_and_reads_which_axis_is_the_batch(
    converter: Path, job: Job, tiny: Path
) -> None:
    artifact = open_artifact(tiny)
    case = next(artifact.golden(artifact.variant()))
    for _ in range(2):
        contender = ncnn.Ncnn(job)
        contender.import_engine()
        contender.load()
        found = contender.answers(contender.prepare(case.inputs)())
        assert np.allclose(found["output"], case.outputs["output"], atol=1e-5)
        converter.unlink(missing_ok=True)  # the second start finds what the first has kept
    kept = sorted(path.name for path in Path(job.options["cache"]).iterdir())
    assert kept == ["1.0-8x13.bin", "1.0-8x13.param", "1.0-8x13.py"]
    told = contender.configuration()
    assert (told["num_threads"], told["use_fp16_storage"], told["sizes"]) == ("1", "False", "fixed")
    assert contender.fixed_sizes


def test_a_model_that_ncnns_converter_refuses_is_unsupported_and_leaves_nothing(
    converter: Path, job: Job, tiny: Path
) -> None:
    converter.write_text("#!/bin/sh\nexit 255\n")
    artifact = open_artifact(tiny)
    case = next(artifact.golden(artifact.variant()))
    with pytest.raises(UnsupportedModel, match="ncnn can't convert this model"):
        ncnn.Ncnn(job).prepare(case.inputs)
    assert list(Path(job.options["cache"]).iterdir()) == []


class TractTensor:
    def __init__(self, array: Array) -> None:
        self.array = array

    @staticmethod
    def from_numpy(array: Array) -> "TractTensor":
        return TractTensor(array)

    def to_numpy(self) -> Array:
        return self.array.copy()


class TractModel:
    """A model of tract's in all of its stages; `symbols` is what they were last set to."""

    symbols: dict[str, int] = {}  # noqa: RUF012 - the test reads it from the class

    def __init__(self, path: str) -> None:
        self._evaluator = ReferenceEvaluator(path)

    def input_count(self) -> int:
        return 1

    def input_name(self, index: int) -> str:
        return str(self._evaluator.input_names[index])

    def into_model(self) -> "TractModel":
        return self

    def transform(self, symbols: dict[str, int]) -> None:
        TractModel.symbols = symbols

    def into_runnable(self) -> "TractModel":
        return self

    def spawn_state(self) -> "TractModel":
        return self

    def run(self, tensors: list[TractTensor]) -> list[TractTensor]:
        return [TractTensor(array) for array in self._evaluator.run(None, {"input": tensors[0].array})]


class TractError(Exception):
    pass


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable[[str], TractModel]]]:
    """Install a stand-in for tract; return how it loads, which a test may replace."""
    how: dict[str, Callable[[str], TractModel]] = {"load": TractModel}
    onnx = type("Onnx", (), {"load": lambda _, path: how["load"](path)})
    install(monkeypatch, "tract", Tensor=TractTensor, TractError=TractError, SetSymbols=dict, onnx=onnx)
    monkeypatch.setattr(sys.modules["tract"], "version", lambda: "0.23.9", raising=False)
    return how  # type: ignore[return-value]


def test_tract_is_given_the_sizes_as_numbers(loading: object, job: Job, tiny: Path) -> None:
    answers_right(tract.Tract(job), tiny)
    assert TractModel.symbols == {"batch": 1}


class Remembering(TractModel):
    """Adds to each answer how often its state was run before, as a loop that goes on where it was left."""

    def spawn_state(self) -> TractModel:
        return RememberingState(self)


class RememberingState(TractModel):
    def __init__(self, model: TractModel) -> None:
        self._model, self._runs = model, 0

    def run(self, tensors: list[TractTensor]) -> list[TractTensor]:
        self._runs += 1
        return [TractTensor(one.array + np.float32(self._runs - 1)) for one in self._model.run(tensors)]


def test_a_model_that_carries_something_over_gets_a_new_state_for_each_call(
    loading: dict[str, Any], job: Job, tiny: Path
) -> None:
    loading["load"] = Remembering
    answers_right(tract.Tract(job), tiny)


def test_a_model_that_tract_refuses_is_unsupported(loading: dict[str, Any], job: Job) -> None:
    def refuse(_: str) -> TractModel:
        raise TractError("Unimplemented(Foo)\n\nStack backtrace:")

    loading["load"] = refuse
    with pytest.raises(UnsupportedModel, match=r"tract can't read this model: TractError: Unimplemented\(Foo\)"):
        tract.Tract(job).load()


def test_tract_is_skipped_where_others_have_more_threads(loading: object, tiny: Path) -> None:
    with pytest.raises(UnsupportedSystem, match="tract computes on one thread only"):
        tract.Tract(Job(artifact=tiny, variant="auto", threads=2, options={})).import_engine()


@pytest.mark.parametrize(
    ("package", "make"),
    [("openvino", openvino.OpenVino), ("MNN", mnn.Mnn), ("ncnn", ncnn.Ncnn), ("tract", tract.Tract)],
)
def test_a_peer_that_is_not_installed_says_which_extra_brings_it(
    package: str, make: Callable[[Job], Contender], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnsupportedSystem, match="is not installed") as caught:
        make(job).import_engine()
    assert caught.value.hint == f'install it: pip install "edge-runtime[{package.lower()}]"'


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_is_a_contender_with_an_extra_and_a_pin_of_its_own(name: str) -> None:
    import tomllib  # noqa: PLC0415 - for this test alone

    root = Path(__file__).parents[3]
    kind = contenders.find(name)
    assert kind.host, "a board's payload has no other engines"
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    package = extras[name][0].lower().partition(">=")[0]
    assert package.endswith(name)
    pins = (root / "constraints.txt").read_text().lower().splitlines()
    assert any(pin.startswith(f"{package}==") for pin in pins)


def test_executorch_and_litert_make_programs_for_fixed_sizes() -> None:
    assert executorch.ExecuTorch.fixed_sizes
    assert litert.LiteRt.fixed_sizes
