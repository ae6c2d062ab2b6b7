"""What a release of onnxruntime can't run is refused by name; the table is what the installed one itself says."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from export_tools import ExportRequest
from export_tools.errors import ExportFailed, OpsetUnavailable
from export_tools.kernels import places_of, refuse_missing
from export_tools.pipeline import run
from export_tools.releases import Release, least_release, release_named, releases, table
from export_tools.target import parse

Requested = Callable[..., ExportRequest]


def release(name: str) -> Release:
    found = release_named(name)
    assert found is not None
    return found


def model(
    kind: str,
    opset: int,
    element: int = TensorProto.FLOAT,
    *,
    inputs: int = 1,
    ir: int = 8,
    domain: str = "",
    **attributes: object,
) -> onnx.ModelProto:
    names = [f"x{index}" for index in range(inputs)]
    values = [helper.make_tensor_value_info(name, element, [2, 3]) for name in names]
    node = helper.make_node(kind, names, ["y"], domain=domain, **attributes)
    graph = helper.make_graph([node], "one", values, [helper.make_tensor_value_info("y", element, None)])
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


def test_the_table_is_what_the_installed_onnxruntime_says_of_itself() -> None:
    from onnxruntime import __version__  # noqa: PLC0415 - of this test alone
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    installed = ".".join(__version__.split(".")[:2])
    place = table()["releases"].index(installed)
    own = {
        (one.domain, one.op_name, one.version_range[0], one.version_range[1], variable, text)
        for one in state.get_all_opkernel_def()
        if one.provider == "CPUExecutionProvider"
        for variable, texts in one.type_constraints.items()
        for text in texts
        if text.startswith("tensor(")
    }
    told = {
        (domain, kind, first, 2**31 - 1 if last is None else last, variable, f"tensor({name})")
        for domain, kind, first, last, types in table()["kernels"]
        for variable, spans in types.items()
        for span, names in spans.items()
        if any(int(a) <= place <= int(b) for a, b in (part.split("-") for part in span.split(",")))
        for name in names
        if name
    }
    assert len(own) > 4000
    assert told == own


@pytest.mark.parametrize(
    ("opset", "ir", "name"),
    [
        (11, 6, "1.13"),
        (17, 8, "1.13"),
        (18, 8, "1.14"),
        (17, 9, "1.15"),
        (20, 9, "1.17"),
        (18, 10, "1.18"),
        (22, 10, "1.21"),
    ],
)
def test_the_least_release_reads_both_the_opset_and_the_ir(opset: int, ir: int, name: str) -> None:
    assert least_release(opset, ir) == name


def test_no_release_reads_what_is_newer_than_all() -> None:
    assert least_release(1000, 8) is None


@pytest.mark.parametrize(
    ("made", "first"),
    [
        (model("Relu", 13), "1.13"),
        (model("BitwiseNot", 18, TensorProto.INT32), "1.14"),
        (model("Relu", 13, TensorProto.FLOAT16), "1.13"),  # computed in float32 between two casts
        (model("Gelu", 1, domain="com.microsoft"), "1.13"),
    ],
)
def test_each_kernel_has_the_release_it_came_with(made: onnx.ModelProto, first: str) -> None:
    able: list[str] = []
    for one in releases():
        try:
            refuse_missing(made, one, where="here")
        except (ExportFailed, OpsetUnavailable):
            assert not able, f"{one.name} lacks what {able[-1]} had"
        else:
            able.append(one.name)
    assert able[0] == first


def test_an_operator_without_a_kernel_is_named_with_the_release_that_has_one() -> None:
    with pytest.raises(ExportFailed) as caught:
        refuse_missing(model("BitwiseNot", 18, TensorProto.INT32), Release("1.13", 18, 8), where="here")
    assert caught.value.what == "onnxruntime 1.13 has no CPU kernel for BitwiseNot of int32 (version 18)"
    assert caught.value.hint.startswith("install onnxruntime 1.14 or later there")


def test_the_nearest_opset_that_has_a_kernel_is_the_way_out() -> None:
    made = model("Shape", 19)
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ExportFailed, match=r"no CPU kernel for Shape of float, int64 \(version 19\)") as caught:
        refuse_missing(made, release("1.15"), where="here")
    assert "install onnxruntime 1.16 or later there, ask for --opset 18" in caught.value.hint


def test_the_line_of_the_users_code_is_named_where_the_exporter_told_it() -> None:
    made = model("BitwiseNot", 18, TensorProto.INT32)
    trace = 'File "/home/me/net.py", line 3, in forward\n  self.body(x)\nFile "/home/me/body.py", line 12, in forward'
    made.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value=trace)
    with pytest.raises(ExportFailed, match=r"for BitwiseNot of int32 \(version 18\) at body\.py:12 ") as caught:
        refuse_missing(made, Release("1.13", 18, 8), where="here", places=places_of(made))
    assert "/home/me" not in str(caught.value)


def test_a_constant_needs_no_kernel_since_onnxruntime_makes_it_a_weight() -> None:
    made = model("Add", 19, inputs=1)
    made.graph.node[0].input.append("c")
    constant = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0]))
    made.graph.node.insert(0, constant)
    assert refuse_missing(made, release("1.15"), where="here") == 1


def test_kernels_for_one_pairing_of_types_each_are_there_in_old_releases_too() -> None:
    made = model("ConvInteger", 17, TensorProto.UINT8, inputs=2)
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
    assert refuse_missing(made, release("1.13"), where="here") == 1


def test_an_operator_that_nobody_has_a_kernel_for_is_told_so() -> None:
    with pytest.raises(ExportFailed, match=r"no CPU kernel for example\.Magic") as caught:
        refuse_missing(model("Magic", 18, domain="example"), release("1.32"), where="here")
    assert "another runtime" in caught.value.hint


def test_an_operator_that_is_a_function_of_others_needs_no_kernel() -> None:
    assert refuse_missing(model("Mish", 18), release("1.14"), where="here") == 1


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (model("Relu", 19), "the model has opset 19, onnxruntime 1.14 reads up to 18"),
        (model("Relu", 13, ir=9), "the model has IR version 9, onnxruntime 1.14 reads up to 8"),
    ],
)
def test_what_a_release_does_not_read_is_refused(made: onnx.ModelProto, said: str) -> None:
    with pytest.raises(OpsetUnavailable, match=said):
        refuse_missing(made, release("1.14"), where="here")


def test_operators_inside_of_branches_count_too() -> None:
    inner = helper.make_graph(
        [helper.make_node("BitwiseNot", ["x"], ["y"])],
        "then",
        [],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1])],
    )
    node = helper.make_node("If", ["flag"], ["z"], then_branch=inner, else_branch=inner)
    values = [
        helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.INT32, [1]),
    ]
    graph = helper.make_graph([node], "outer", values, [helper.make_tensor_value_info("z", TensorProto.INT32, [1])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(ExportFailed, match="BitwiseNot of int32"):
        refuse_missing(made, Release("1.13", 18, 8), where="here")


def test_an_export_for_an_old_release_writes_what_it_reads(requested: Requested, tmp_path: Path) -> None:
    aim = parse("onnxruntime==1.13")
    exported = run(requested("linear", tmp_path / "a.edge", target=aim, opset=aim.best_opset(18), exporter="auto"))
    manifest = exported.artifact.manifest
    assert (manifest.target, manifest.requires_opset) == ("onnxruntime==1.13", 17)
    assert manifest.requires_onnxruntime == "1.13"


def test_an_export_that_its_target_can_not_run_is_refused_and_writes_nothing(
    requested: Requested, tmp_path: Path
) -> None:
    with pytest.raises(OpsetUnavailable, match=r"opset 18 was asked for, onnxruntime 1\.13 reads up to 17"):
        run(requested("linear", tmp_path / "a.edge", target=parse("onnxruntime==1.13"), opset=18))
    assert list(tmp_path.iterdir()) == []
