"""The article's walk from PyTorch to ONNX, step by step: `python examples/linear_model/walk.py [FOLDER]`.

Save the whole module, export at batch 64 and opset 11, look at it in netron, check it, run it in onnxruntime,
compare with allclose; then what the article promised for later: a dynamic batch.
"""

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
EDGE = (sys.executable, "-m", "edge_runtime")
BATCH, FEATURES, OPSET = 64, 13, 11
DYNAMIC_SIZES = (1, 2, 7, 64, 333)


def main() -> None:
    """Walk, in the folder given on the command line or here."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    script = os.path.relpath(HERE / "linear_model.py")

    step(1, "train nothing, save everything: torch.save of the whole module")
    shell(sys.executable, script, "linear_model.pt")

    step(2, f"export at batch {BATCH}, opset {OPSET}, with the names input and output")
    # a whole-module pickle runs code when it is opened, so edge wants to be told that this one is ours
    source = ("linear_model.pt", "--trust-pickle", "--import-from", script)
    names = ("--input-names", "input", "--output-names", "output", "--opset", str(OPSET), "--force")
    shell(*EDGE, "export", *source, *names, "--example", f"input={BATCH}x{FEATURES}:float32", "-o", "linear.edge")

    step(3, "look at the graph: edge view linear.edge opens it in netron; here the server alone, for a moment")
    look_at("linear.edge")

    step(4, "ask the checker")
    check_model(Path("linear.edge/fp32/model.onnx"))

    step(5, "run it in onnxruntime, compare with PyTorch by numpy.allclose")
    compare_at("linear.edge", (BATCH,))

    step(6, "what the article left for later: the same with a dynamic batch")
    dynamic = ("--dynamic", "input:0=batch", "-o", "linear-dynamic.edge")
    shell(*EDGE, "export", *source, *names, "--example", f"input={BATCH}x{FEATURES}:float32", *dynamic)
    compare_at("linear-dynamic.edge", DYNAMIC_SIZES)


def step(number: int, title: str) -> None:
    """Announce a step."""
    print(f"\n[{number}/6] {title}", flush=True)


def shell(*words: str) -> None:
    """Show a command as one would type it, then run it; stop the walk when it fails."""
    shown = shlex.join(("edge", *words[len(EDGE) :]) if words[: len(EDGE)] == EDGE else ("python", *words[1:]))
    print(f"$ {shown}", flush=True)
    if subprocess.run(words, check=False).returncode:
        sys.exit(f"the walk stopped at: {shown}")


def look_at(artifact: str) -> None:
    """Serve the graph with netron, read the page once, stop the server."""
    words = (*EDGE, "view", artifact, "--no-browser", "--port", "0")
    print(f"$ edge view {artifact} --no-browser", flush=True)
    # its stderr would say "interrupted" when we stop it, which is what we want
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address is not None, "edge view printed no address"
            with urllib.request.urlopen(address[0], timeout=20) as page:  # noqa: S310 - our own server on loopback
                title = re.search(r"<title>(.*?)</title>", page.read().decode())
            print(f"{address[0]} answers: {title[1] if title else 'a page without title'}")
        finally:
            server.terminate()


def check_model(model: Path) -> None:
    """Say the checker's verdict in the article's words."""
    import onnx  # noqa: PLC0415 - the steps before this one don't need it

    opened = onnx.load(model)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in opened.opset_import}
    try:
        onnx.checker.check_model(opened, full_check=True)
    except onnx.checker.ValidationError as problem:
        sys.exit(f"model incorrect: {problem}")
    print(f"model correct (opset {opsets['ai.onnx']}, IR {opened.ir_version})")


def compare_at(artifact: str, sizes: tuple[int, ...]) -> None:
    """Run onnxruntime, our runtime and PyTorch on the same random batches; stop the walk when they disagree."""
    import numpy as np  # noqa: PLC0415 - as above
    import onnxruntime  # noqa: PLC0415 - as above
    import torch  # noqa: PLC0415 - as above

    import edge_runtime as edge  # noqa: PLC0415 - as above

    sys.path.insert(0, str(HERE))
    import linear_model  # noqa: PLC0415 - found only now

    # the pickle says its class lives in __main__, which is this script now
    sys.modules["__main__"].LinearModel = linear_model.LinearModel  # type: ignore[attr-defined]
    module = torch.load("linear_model.pt", weights_only=False).eval()
    session = onnxruntime.InferenceSession(f"{artifact}/fp32/model.onnx", providers=["CPUExecutionProvider"])
    model = edge.load(artifact)
    random = np.random.default_rng(64)
    for size in sizes:
        batch = random.normal(size=(size, FEATURES)).astype(np.float32)
        with torch.inference_mode():
            wanted = module(torch.from_numpy(batch)).numpy()
        plain = session.run(["output"], {"input": batch})[0]
        ours = model(input=batch)["output"]
        agree = np.allclose(plain, wanted, atol=1e-6) and np.allclose(ours, wanted, atol=1e-6)
        worst = max(abs(plain - wanted).max(), abs(ours - wanted).max())
        print(f"batch {size:>3}: allclose {agree}, largest difference {worst:.1e}")
        if not agree:
            sys.exit("the walk stopped: the answers differ")


if __name__ == "__main__":
    main()
