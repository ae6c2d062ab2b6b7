from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.errors import InvalidModel
from edge_runtime.session import open_model
from export_tools.graph_file import DATA_NAME, GraphSize, read, size_of, write

WEIGHTS = {"w": np.arange(1500, dtype=np.float32).reshape(1, 1500), "v": np.full((1, 1500), 2, np.float32)}


def model(path: Path, **options: Any) -> Path:
    """Write y = (x + w) * v + 1, with two weights of 6000 bytes and a small one."""
    nodes = [helper.make_node(*words) for words in (("Add", ["x", "w"], ["a"]), ("Mul", ["a", "v"], ["b"]))]
    nodes.append(helper.make_node("Add", ["b", "one"], ["y"]))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1500]) for name in "xy"]
    tensors = [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()]
    tensors.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(exist_ok=True)
    onnx.save(made, path, **options)
    return path


def answered(path: Path) -> Any:
    return open_model(path, threads=1, where="here").run(None, {"x": np.ones((2, 1500), np.float32)})[0].tolist()


WANTED = ((1 + WEIGHTS["w"]) * 2 + 1).repeat(2, axis=0).tolist()


@pytest.mark.parametrize("options", [{}, {"save_as_external_data": True, "size_threshold": 0}])
@pytest.mark.parametrize(("inline_bytes", "files"), [(10**6, 1), (100, 2)])
def test_a_graph_is_light_in_memory_and_written_whole(
    tmp_path: Path, options: dict[str, Any], inline_bytes: int, files: int
) -> None:
    graph = read(model(tmp_path / "raw" / "a.onnx", **options))
    assert graph.ByteSize() < 1000
    assert (size_of(graph).nodes, 12_000 < size_of(graph).bytes < 13_000) == (3, True)
    (tmp_path / "out").mkdir()
    written = write(graph, tmp_path / "raw", tmp_path / "out" / "model.onnx", inline_bytes=inline_bytes)
    assert len(written) == files
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    assert answered(written[0]) == WANTED


def test_weights_beside_the_model_begin_on_pages_and_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    graph = read(model(tmp_path / "a.onnx"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(graph, tmp_path, tmp_path / name / "model.onnx", inline_bytes=0)
    proto = onnx.load(tmp_path / "one" / "model.onnx", load_external_data=False)
    places = {t.name: {e.key: e.value for e in t.external_data} for t in proto.graph.initializer if t.external_data}
    assert {name: (place["location"], place["offset"]) for name, place in places.items()} == {
        "w": (DATA_NAME, "0"),
        "v": (DATA_NAME, "8192"),
    }
    for name in ("model.onnx", DATA_NAME):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_nodes_of_inner_graphs_and_functions_count(tmp_path: Path) -> None:
    inner = helper.make_graph([helper.make_node("Neg", ["x"], ["z"])], "i", [], [])
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    function = helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [])
    made = helper.make_model(helper.make_graph([node], "g", [], []), functions=[function])
    made.graph.node.extend([helper.make_node("f", ["y"], ["u"], domain="own")] * 2)
    assert size_of(made) == GraphSize(5, made.ByteSize())


@pytest.mark.parametrize(
    ("location", "what"),
    [
        ("../secret", "weights are said to be in '../secret'"),
        ("/etc/passwd", "weights are said to be in '/etc/passwd'"),
        ("link", "weights are said to be in 'link'"),
        ("absent", "weights are said to be in 'absent'"),
        ("short", "short ends before the weights do"),
    ],
)
def test_weights_that_lie_elsewhere_or_are_not_all_there_are_refused(tmp_path: Path, location: str, what: str) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 10_000)
    path = model(tmp_path / "home" / "a.onnx", save_as_external_data=True, size_threshold=0)
    (path.parent / "link").symlink_to("../secret")
    (path.parent / "short").write_bytes(b"s" * 5999)
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        entry.value = location if entry.key == "location" else entry.value
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InvalidModel, match=what):
        read(path)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model at all")
    with pytest.raises(InvalidModel, match="it is no ONNX file"):
        read(tmp_path / "a.onnx")
    with pytest.raises(InvalidModel, match="it is no ONNX file"):
        read(tmp_path / "absent.onnx")
