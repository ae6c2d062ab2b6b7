"""Make ``export_tools/kernels.json`` anew: which CPU kernels each release of onnxruntime has, asked of its own wheels.

``python tools/collect_kernels.py [--work FOLDER]`` downloads one wheel of each minor release (300 MB), asks each in a
process of its own, and writes the table. Releases from 1.16 on list their kernels themselves. Older ones don't: each
kernel that 1.16 lists is tried there in a model of one node, whose types are all of that one kernel (an operator may
have several, each for a pairing of types), and what onnxruntime says of the model decides. Needs the
interpreters of `RELEASES` on the path; pyenv and uv install them.
"""

import argparse
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / "export_tools" / "kernels.json"
LISTS_ITSELF = "1.16"
# the last patch of each minor release, and the Python that its wheel and a numpy of its time are for
RELEASES = {
    "1.13": ("1.13.1", "3.10"),
    "1.14": ("1.14.1", "3.10"),
    "1.15": ("1.15.1", "3.11"),
    "1.16": ("1.16.3", "3.11"),
    "1.17": ("1.17.3", "3.11"),
    "1.18": ("1.18.1", "3.11"),
    "1.19": ("1.19.2", "3.11"),
    "1.20": ("1.20.1", "3.11"),
    "1.21": ("1.21.1", "3.11"),
    "1.22": ("1.22.1", "3.11"),
    "1.23": ("1.23.2", "3.11"),
    "1.24": ("1.24.4", "3.11"),
    "1.25": ("1.25.1", "3.11"),
    "1.26": ("1.26.0", "3.11"),
    "1.27": ("1.27.0", "3.11"),
    "1.28": ("1.28.0", "3.11"),
    "1.29": ("1.29.0", "3.11"),
    "1.30": ("1.30.0", "3.11"),
    "1.31": ("1.31.1", "3.11"),
    "1.32": ("1.32.0", "3.11"),
}
OPEN = 2**30  # the last version of a kernel that has none
Row = tuple[str, str, int, int, str, str]  # domain, operator, first and last version of it, type variable, type
Kernel = tuple[str, str, int, int, dict[str, list[str]]]  # the same, with all types of each variable

# What a release says of a model whose kernel, type or operator it does not have; and what a kernel that is there says
# of the empty attributes that it is given
REFUSALS = (
    "Could not find an implementation",
    "is not a registered function/op",
    "is under development and support for this is limited",
    "is not currently registered or supported",
    "Invalid tensor data type",
    "Version mismatch",
    ") is invalid.",
)
FOUND = ("Exception during initialization", "does not match expected type", "ShapeInferenceError")

LISTING = """
import json, sys
from onnxruntime.capi import onnxruntime_pybind11_state as state
kernels = []
for kernel in state.get_all_opkernel_def():
    if kernel.provider != "CPUExecutionProvider":
        continue
    # sequences and optionals never reach a board: models have tensors
    tensors = {
        variable: sorted(one for one in types if not one or one.startswith("tensor("))
        for variable, types in kernel.type_constraints.items() or [("", [""])]
    }
    kernels.append([kernel.domain, kernel.op_name, *kernel.version_range, tensors])
json.dump(kernels, sys.stdout)
"""

TRYING = """
import json, sys
import onnxruntime
answers = []
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
for path in sys.stdin.read().split():
    try:
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        answers.append("")
    except Exception as problem:
        answers.append(f"{type(problem).__name__}: {problem}"[:2000])
json.dump(answers, sys.stdout)
"""


def main() -> None:
    """Download, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "edge-kernels", help="for the wheels")
    work = parser.parse_args().work
    listed = {minor: asked(minor, work) for minor in RELEASES if minor >= LISTS_ITSELF}
    found = {
        minor: frozenset(row for kernel in kernels for row in rows_of(kernel)) for minor, kernels in listed.items()
    }
    for minor in RELEASES:
        if minor < LISTS_ITSELF:
            found[minor] = tried(minor, work, listed[LISTS_ITSELF])
    reads = {minor: highest(minor, work) for minor in RELEASES}
    OUTPUT.write_text(document(found, reads), encoding="utf-8")
    print(f"{OUTPUT}: {OUTPUT.stat().st_size // 1024} KiB")


def asked(minor: str, work: Path) -> list[Kernel]:
    """Return the kernels that a release lists."""
    kernels = [tuple(one) for one in json.loads(run(minor, work, LISTING, ""))]
    print(f"{minor}: {len(kernels)} kernels listed", flush=True)
    return kernels


def rows_of(kernel: Kernel) -> list[Row]:
    """Return a kernel as rows of the table."""
    domain, kind, low, high, types = kernel
    return [(domain, kind, low, high, variable, one) for variable, names in types.items() for one in names]


def tried(minor: str, work: Path, kernels: list[Kernel]) -> frozenset[Row]:
    """Return those of a later release's kernels with which a model of one node loads in this one.

    A type counts when one of the kernels that have it loads with it, or when there is no model to try it with.
    """
    folder = work / f"models-{minor}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths: list[tuple[Row, Path]] = []
    candidates = {row for kernel in kernels for row in rows_of(kernel)}
    for kernel in kernels:
        for row in rows_of(kernel):
            model = model_of(row, kernel[4])
            if model is not None:
                paths.append((row, folder / f"{len(paths)}.onnx"))
                paths[-1][1].write_bytes(model)
    answers = json.loads(run(minor, work, TRYING, "\n".join(str(path) for _, path in paths)))
    said: dict[Row, list[str]] = {}
    for (row, _), answer in zip(paths, answers, strict=True):
        said.setdefault(row, []).append(answer)
    refused = {row for row, answers in said.items() if all(any(words in one for words in REFUSALS) for one in answers)}
    unclear = sorted(
        {
            (*row[:3], one[-120:])
            for row, answers in said.items()
            for one in answers
            if one and not any(words in one for words in (*FOUND, *REFUSALS))
        }
    )
    untried = len(candidates) - len(said)
    print(f"{minor}: {len(said)} tried, {len(refused)} refused, {len(unclear)} unclear, {untried} can't be tried")
    for told in unclear[:8]:
        print("   ", told)
    return frozenset(candidates - refused)


def highest(minor: str, work: Path) -> tuple[int, int]:
    """Return the highest opset and IR version of a model that a release loads without complaint."""
    from onnx import TensorProto, helper  # noqa: PLC0415 - as below

    folder = work / f"reads-{minor}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ends = []
    # opset 7 and IR 3 are as old as the format that onnxruntime reads at all
    for name, versions in (("opset", range(7, 41)), ("ir", range(3, 31))):
        paths = []
        for version in versions:
            values = [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1]) for one in "xy"]
            graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", values[:1], values[1:])
            opset, ir = (version, 3) if name == "opset" else (7, version)
            paths.append(folder / f"{name}-{version}.onnx")
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
            paths[-1].write_bytes(model.SerializeToString())
        answers = json.loads(run(minor, work, TRYING, "\n".join(map(str, paths))))
        ends.append(max(version for version, answer in zip(versions, answers, strict=True) if not answer))
    print(f"{minor}: reads opset {ends[0]}, IR {ends[1]}", flush=True)
    return ends[0], ends[1]


def model_of(row: Row, own: dict[str, list[str]]) -> bytes | None:  # noqa: PLR0912 - a case each
    """Return a model of one node that needs this kernel, or None where its schema does not tell how to make one.

    own: all types of the kernel, by variable: the others than the row's have to be its too.
    """
    from onnx import TensorProto, defs, helper  # noqa: PLC0415

    domain, kind, low, high, variable, type_text = row
    if domain not in {"", "ai.onnx.ml"}:
        return None
    try:
        # a kernel without an end is for the one version that it begins with
        schema = defs.get_schema(kind, low if high >= OPEN else high, domain)
    except defs.SchemaError:
        return None
    if schema.since_version < low:
        return None
    names = {f"tensor({name.lower()})": value for name, value in TensorProto.DataType.items()}
    chosen = {one.type_param_str: list(one.allowed_type_strs) for one in schema.type_constraints}
    for name, kernels in own.items():
        both = [one for one in chosen.get(name, kernels) if one in kernels]
        chosen[name] = both or kernels
    if variable:
        chosen[variable] = [type_text]

    def element(formal: "defs.OpSchema.FormalParameter") -> int | None:
        options = chosen.get(formal.type_str, [formal.type_str])
        known = [names[text] for text in options if text in names]
        preferred = [one for one in known if one == TensorProto.FLOAT]
        return next(iter(preferred or known), None)

    needed = [formal for formal in schema.inputs if formal.option != defs.OpSchema.FormalParameterOption.Optional]
    elements = [element(formal) for formal in needed]
    if None in elements:
        return None
    inputs = [helper.make_tensor_value_info(f"i{i}", one, None) for i, one in enumerate(elements)]
    made = {
        "FLOAT": 1.0, "INT": 1, "STRING": "constant", "FLOATS": [1.0], "INTS": [1], "STRINGS": ["a"],
        "TENSOR": helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]),
    }  # fmt: skip
    attributes = {}
    for name, attribute in schema.attributes.items():
        if attribute.required:
            if attribute.type.name not in made:
                return None
            attributes[name] = made[attribute.type.name]
    if kind == "Cast":
        attributes["to"] = names[type_text] if variable == "T2" else TensorProto.FLOAT
    outputs = []
    for i, formal in enumerate(schema.outputs[: max(1, schema.min_output)]):
        kind_of = attributes["to"] if kind == "Cast" else element(formal)
        if kind_of is None:
            return None
        outputs.append(helper.make_tensor_value_info(f"o{i}", kind_of, None))
    node = helper.make_node(
        kind, [one.name for one in inputs], [one.name for one in outputs], domain=domain, **attributes
    )
    graph = helper.make_graph([node], "one", inputs, outputs)
    opsets = [helper.make_opsetid(domain, schema.since_version)]
    if domain:
        opsets.append(helper.make_opsetid("", 15))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7)
    return bytes(model.SerializeToString())


def run(minor: str, work: Path, code: str, stdin: str) -> str:
    """Run code with a release of onnxruntime and a numpy of its time, and nothing else; return what it prints."""
    release, python = RELEASES[minor]
    place = work / release
    if not place.is_dir():
        for requirement in (f"onnxruntime=={release}", "numpy<2" if minor < "1.19" else "numpy<2.3"):
            fetch(requirement, python, place)
    done = subprocess.run(
        [f"python{python}", "-S", "-c", code],
        input=stdin,
        env={"PYTHONPATH": str(place), "PATH": sys.exec_prefix, "HOME": str(work), **path_of()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def fetch(requirement: str, python: str, place: Path) -> None:
    """Download a wheel and unpack it."""
    wheels = place.with_suffix(".wheels")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"),
            *("--python-version", python, "-d", str(wheels), requirement),
        ],
        check=True,
    )
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
    shutil.rmtree(wheels)


def path_of() -> dict[str, str]:
    """Return the search path alone of this environment."""
    import os  # noqa: PLC0415 - of this alone

    return {"PATH": os.environ["PATH"]}


def document(found: dict[str, frozenset[Row]], reads: dict[str, tuple[int, int]]) -> str:
    """Return the table: a line for each operator and version of it, types with the releases that have them.

    A release is its place in `releases`; `reads` is the highest opset and IR version of each. Types are grouped by the
    releases they are in.
    """
    releases = list(RELEASES)
    spans: dict[Row, list[int]] = {}
    for index, minor in enumerate(releases):
        for row in found[minor]:
            spans.setdefault(row, []).append(index)
    table: dict[tuple[str, str, int, int], dict[str, dict[str, list[str]]]] = {}
    for (domain, kind, low, high, variable, type_text), places in sorted(spans.items()):
        types = table.setdefault((domain, kind, low, high), {}).setdefault(variable, {})
        span = ",".join(f"{a}-{b}" for a, b in ranges(places))
        types.setdefault(span, []).append(type_text.removeprefix("tensor(").removesuffix(")"))
    lines = [
        json.dumps([domain, kind, low, None if high >= OPEN else high, types])
        for (domain, kind, low, high), types in table.items()
    ]
    head = {"kind": "edge-kernels", "schema": 1, "releases": releases, "reads": [reads[minor] for minor in releases]}
    return json.dumps(head)[:-1] + ',\n"kernels": [\n' + ",\n".join(lines) + "\n]}\n"


def ranges(places: list[int]) -> list[tuple[int, int]]:
    """Return runs of consecutive places as pairs of first and last."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and found[-1][1] == place - 1:
            found[-1] = (found[-1][0], place)
        else:
            found.append((place, place))
    return found


if __name__ == "__main__":
    main()
