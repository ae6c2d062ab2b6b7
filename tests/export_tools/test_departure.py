from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export_tools import ExportRequest, departure
from export_tools.cases import Case
from export_tools.noise import Answers
from export_tools.pipeline import run
from export_tools.reference import Opened, answer_case, ask_to_open, await_opened, start
from export_tools.torch_process import TorchProcess
from export_tools.verify import Failing, compared

Requested = Callable[..., ExportRequest]
Tamper = Callable[[onnx.ModelProto], None]
ANSWER = np.ones((2, 5), np.float32)
IMAGE = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


def line_of(text: str) -> str:
    lines = (Path(__file__).parent / "sources" / "networks.py").read_text().splitlines()
    return f"networks.py:{next(number for number, line in enumerate(lines, 1) if text in line)}"


@pytest.fixture(scope="module")
def opened(requested: Requested, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Opened, TorchProcess]]:
    """Return the convolutional network, open in a process of its own."""
    request, work = requested("convolved", Path("unused.edge")), tmp_path_factory.mktemp("opened")
    with start(request) as reference, start(request) as other:
        ask_to_open(request, reference, work, precise=True)
        ask_to_open(request, other, work, precise=False)
        yield await_opened(request, reference, other, work), reference


@pytest.fixture(scope="module", params=["dynamo", "torchscript"])
def exported(request: pytest.FixtureRequest, requested: Requested, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what each of the exporters makes of it."""
    folder = tmp_path_factory.mktemp("exported")
    artifact = run(requested("convolved", folder / "a.edge", exporter=request.param)).artifact
    return artifact.model_path(artifact.variant())


def tampered(model: Path, change: Tamper, folder: Path) -> Path:
    proto = onnx.load(model)
    change(proto)
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return path


def scale_weight(rank: int) -> Tamper:
    """Return what makes the weights of this rank one part in a hundred larger."""

    def change(proto: onnx.ModelProto) -> None:
        (weight,) = [
            w for w in proto.graph.initializer if len(w.dims) == rank and w.data_type == onnx.TensorProto.FLOAT
        ]
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))

    return change


def turn_softmax(proto: onnx.ModelProto) -> None:
    (node,) = [node for node in proto.graph.node if node.op_type == "Softmax"]
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("axis", 0))


@pytest.mark.parametrize(
    ("change", "operator", "line", "node"),
    [
        (scale_weight(4), "aten.convolution", "x = self.norm(self.conv(image))", {"Conv"}),
        (scale_weight(2), "aten.addmm", "x = self.head(x)", {"Gemm", "MatMul"}),
        (turn_softmax, "aten._softmax", "scores: Tensor = x.softmax(1)", {"Softmax"}),
    ],
)
def test_the_first_operator_that_departs_is_named_with_its_line_and_the_node(  # noqa: PLR0917 - parameters and fixtures
    opened: tuple[Opened, TorchProcess],
    exported: Path,
    tmp_path: Path,
    change: Tamper,
    operator: str,
    line: str,
    node: set[str],
) -> None:
    module, reference = opened
    case = Case("real", {"image": IMAGE}, {})
    answers, _ = answer_case(case, module, reference, tmp_path / "case")
    model = tampered(exported, change, tmp_path)
    proof = compared(model, [case], [answers], threads=1, where="here")
    (row,) = proof.wrong
    found = departure.find(Failing(model, case, row, proof), reference, module.output_names, work=tmp_path)
    assert found is not None
    assert found.operator.kind.removesuffix(".default") == operator
    assert found.operator.place == line_of(line)
    assert found.node is not None
    assert found.node.kind in node
    assert found.operator.low == pytest.approx(found.node.low, rel=1e-3)
    assert found.operator.high == pytest.approx(found.node.high, rel=1e-3)
    assert f"{operator} at {line_of(line)} (inputs from " in str(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


def test_a_graph_that_does_not_depart_has_no_departure(
    opened: tuple[Opened, TorchProcess], exported: Path, tmp_path: Path
) -> None:
    module, reference = opened
    case = Case("real", {"image": IMAGE}, {})
    answers, _ = answer_case(case, module, reference, tmp_path / "case")
    proof = compared(exported, [case], [answers], threads=1, where="here")
    assert departure.find(Failing(exported, case, proof.rows[0], proof), reference, ["output"], work=tmp_path) is None


def test_a_graph_that_can_not_run_has_none_either(
    opened: tuple[Opened, TorchProcess], exported: Path, tmp_path: Path
) -> None:
    module, reference = opened
    case = Case("real", {"image": IMAGE[:, :, :2]}, {})  # smaller than the kernel
    proof = compared(
        exported, [Case("real", {"image": IMAGE}, {})], [Answers({"output": ANSWER}, None)], threads=1, where="here"
    )
    failing = Failing(exported, case, proof.rows[0], proof)
    assert departure.find(failing, reference, module.output_names, work=tmp_path) is None
