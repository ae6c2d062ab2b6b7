"""`make demo`: the whole road on this machine as the board, on two models.

The article's LinearModel, step by step; a network trained here in seconds on real handwritten digits; then both
against PyTorch. Everything is written to the folder given on the command line (demo/), which is made anew.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edge_runtime.console import table
from edge_runtime.record import load_record
from edge_runtime.summary import comparisons, document
from edge_runtime.units import Text, duration, size

HERE = Path(__file__).resolve().parent
EDGE = (sys.executable, "-m", "edge_runtime")
BENCH_BUDGET = "45s"  # each; the demo is to end within four minutes on two cores
MARKER = ".made-by-make-demo"
PICTURE = "together"  # what edge report calls the chart of several records


class Road:
    """The steps walked so far, with the time each took."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []

    def walk(self, title: str, *words: str | Path) -> None:
        """Show a step and its command, run it, remember how long it took; stop when it fails."""
        print(f"\n━━ {len(self.steps) + 1}. {title}", flush=True)
        print(f"$ {shown(words)}", flush=True)
        begin = time.monotonic()
        if subprocess.run(list(map(str, words)), check=False).returncode:
            sys.exit(f"the demo stopped at: {shown(words)}")
        self.steps.append((title, time.monotonic() - begin))


def main() -> None:
    """Walk the road, then show what came of it."""
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    start_anew(demo)
    os.environ["PYTHONPATH"] = str(HERE.parent)  # `edge` as it is in this clone
    here, digits, linear = Path(os.path.relpath(HERE)), demo / "digits", demo / "linear_model"
    road = Road()
    road.walk("the article: LinearModel from PyTorch to ONNX", sys.executable, here / "linear_model/walk.py", linear)
    road.walk("train a real network in seconds", sys.executable, here / "digits/train.py", digits)
    road.walk(
        "export it: verified against PyTorch",
        *(*EDGE, "export", here / "digits/model.py:build", "--weights", digits / "digits.pt"),
        *("--data", digits / "real.npz", "--dynamic", "image:0=batch", "--output-names", "scores"),
        *("-o", digits / "digits.edge"),
    )
    road.walk("the same accuracy everywhere?", sys.executable, here / "digits/evaluate.py", digits)
    road.walk("does it answer right on this machine?", *EDGE, "check", digits / "digits.edge")
    road.walk("how fast is it, and how big?", *EDGE, "measure", digits / "digits.edge", "--budget", "12")
    for artifact in (linear / "linear.edge", digits / "digits.edge"):
        road.walk(
            f"{artifact.stem} against onnxruntime and PyTorch",
            *(*EDGE, "bench", artifact, "--against", "onnxruntime,torch", "--budget", BENCH_BUDGET),
            *("-o", artifact.with_suffix(".record.json")),
        )
    records = [linear / "linear.record.json", digits / "digits.record.json"]
    road.walk(
        "both as a page, and as a picture", *EDGE, "report", *records, *("-o", demo / "report.html", "--svg", demo)
    )
    conclude(road, demo, records)


def start_anew(demo: Path) -> None:
    """Empty the demo's folder, if it is one that a demo made."""
    if demo.exists():
        if not (demo / MARKER).is_file():
            sys.exit(f"{demo} is there and was not made by this demo: choose another with make demo DEMO=FOLDER")
        shutil.rmtree(demo)
    demo.mkdir(parents=True)
    (demo / MARKER).touch()


def conclude(road: Road, demo: Path, records: list[Path]) -> None:
    """Print the results of both benches, the time of each step, where everything is, and what to try next."""
    lines = table([("step", "seconds"), *((title, f"{taken:.0f}") for title, taken in road.steps)], "<>")
    results = table([row for record in records for row in rows(record, header=record is records[0])], "<<>>>>>>")
    (demo / "results.txt").write_text(results + "\n", encoding="utf-8")
    print(f"\n━━ done in {sum(taken for _, taken in road.steps):.0f} s\n\n{lines}\n\n{results}\n")
    print(f"in {demo}/: report.html to open in a browser, {PICTURE}.svg, results.txt,")
    print("and for each model its artifact (.edge) and record (.record.json)\n")
    print("try next:")
    print(f"  edge info {demo}/digits/digits.edge")
    print(f"  edge run {demo}/digits/digits.edge --input image={demo}/digits/real.npz")
    print(f"  edge view {demo}/digits/digits.edge")
    if Path(sys.prefix).name == ".venv":
        print("(edge is .venv/bin/edge; or: source .venv/bin/activate)")


def rows(record: Path, *, header: bool) -> list[tuple[str, ...]]:
    """Return a bench's rows, from the summary that edge computes of its record."""
    loaded = load_record(record)
    summary = document(loaded, comparisons(loaded, contender="edge"))
    speedups = {one["baseline"]: one for one in summary["comparisons"]}
    found: list[tuple[str, ...]] = []
    if header:
        found.append(
            ("model", "engine", "p50", "p99", "cold start", "model's memory", "process, peak", "edge is faster by")
        )
    for name, figures in summary["contenders"].items():
        speedup = speedups.get(name)
        found.append(
            (
                record.name.removesuffix(".record.json"),
                name,
                told(figures["latency_ns"]["p50"], duration),
                told(figures["latency_ns"]["p99"], duration),
                told(figures["cold_start_ns"], duration),
                told(figures["memory_bytes"]["model_steady"], size),
                told(figures["memory_bytes"]["total_peak"], size),
                "" if speedup is None else faster(speedup),
            )
        )
    return found


def faster(comparison: dict[str, Any]) -> str:
    """Return a speed-up with its interval, and its verdict where that is not to be seen from them."""
    speedup, low, high, verdict = (comparison[key] for key in ("speedup", "low", "high", "verdict"))
    if speedup is None or low is None:
        return str(verdict)
    shown = f"{speedup:.2f}x [{low:.2f}, {high:.2f}]"
    return shown if verdict in {"faster", "slower"} else f"{shown} {verdict}"


def told(triple: list[float] | None, text: Text) -> str:
    """Return an estimate as text."""
    return "–" if triple is None else text(triple[0])


def shown(words: tuple[str | Path, ...]) -> str:
    """Return a command as one would type it."""
    texts = list(map(str, words))
    if tuple(texts[: len(EDGE)]) == EDGE:
        return shlex.join(["edge", *texts[len(EDGE) :]])
    return shlex.join(["python", *texts[1:]])


if __name__ == "__main__":
    main()
