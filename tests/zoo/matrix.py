"""``make zoo``: every network and trap through the whole road, as a table; exit 1 unless each is as it should be.

Each is exported by the command, held against PyTorch on inputs that the proof has not seen (`fresh`), and what is equal
is measured against eager and compiled PyTorch, side by side. ``--only NAME`` (repeatable), ``--json FILE``,
``--budget 20s`` for each network, ``--no-bench``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edge_runtime.console import table
from edge_runtime.units import duration, size
from tests.zoo.entry import Entry, entries, weights_folder

EDGE = (sys.executable, "-m", "edge_runtime")
CLOSE = {"half_weights": 2e-3}  # of the largest value, of those that compute in float16
USUALLY = 1e-4
RIVALS = ("torch", "torch-compile")
COLUMNS = ("source", "kind", "exporter", "opset", "cases", "error", "size", "p50", "torch", "compiled", "verdict")


def main() -> None:
    """Walk through all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--budget", default="20s")
    parser.add_argument("--no-bench", action="store_true")
    options = parser.parse_args()
    chosen = [one for one in entries() if not options.only or one.name in options.only]
    missing = [one.missing for one in chosen if one.missing]
    if missing:
        sys.exit(missing[0])
    os.environ["EDGE_ZOO"] = str(weights_folder())
    begin, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="edge-zoo-") as folder:
        for place, one in enumerate(chosen, 1):
            print(f"[{place}/{len(chosen)}] {one.name}", file=sys.stderr, flush=True)
            rows.append(walked(one, Path(folder), None if options.no_bench or not one.package else options.budget))
    print(table([COLUMNS, *(cells(row) for row in rows)], "<<<>>>>>>><"))
    wrong = [row["name"] for row in rows if not row["as_it_should"]]
    print(f"\n{len(rows) - len(wrong)} of {len(rows)} as they should be, in {(time.monotonic() - begin) / 60:.0f} min")
    print("error: the worst over its tolerance; torch, compiled: their p50 over ours, one thread, 95 % intervals")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    sys.exit(f"not as they should be: {', '.join(wrong)}" if wrong else 0)


def walked(one: Entry, folder: Path, budget: str | None) -> dict[str, Any]:
    """Return a row: what the export answered, whether it is equal afresh, and how fast."""
    artifact = folder / f"{one.name}.edge"
    code, answer = asked("export", one.source, *one.flags, "-o", artifact)
    row: dict[str, Any] = {"name": one.name, "kind": one.kind, "exit": code, "export": answer, "speed": {}}
    if one.verdict == "refused":
        told = f"{answer.get('what', '')} {answer.get('hint', '')}"
        row["as_it_should"] = code == one.exit and one.says in told and not artifact.exists()
        row["verdict"] = "refused" if code else "equal, and should not be"
        return row
    if code:
        return {**row, "as_it_should": False, "verdict": f"failed: {answer.get('what', '')}"[:120]}
    fresh = subprocess.run(
        (sys.executable, "-m", "tests.zoo.fresh", one.source, str(artifact)), stdout=subprocess.PIPE, check=False
    )
    row["fresh"] = json.loads(fresh.stdout)["worst"] if fresh.returncode == 0 else float("inf")
    row["as_it_should"] = row["fresh"] < CLOSE.get(one.name, USUALLY)
    row["verdict"] = "equal" if row["as_it_should"] else f"differs afresh by {row['fresh']:.2g}"
    if budget is not None:
        row["speed"] = speed(artifact, budget)
    return row


def speed(artifact: Path, budget: str) -> dict[str, Any]:
    """Return our p50, and each rival's over it with the interval."""
    code, answer = asked("bench", artifact, "--against", ",".join(RIVALS), "--budget", budget)
    if code:
        return {"problem": answer.get("what", f"exit {code}")}
    summary = answer["summary"]
    latency = (summary["contenders"].get("edge") or {}).get("latency_ns") or {}
    against = {pair["baseline"]: pair for pair in summary["comparisons"]}
    return {"p50_ns": (latency.get("p50") or [None])[0], **against}


def asked(*words: object) -> tuple[int, dict[str, Any]]:
    """Run a verb with --json; return its exit code and its document."""
    done = subprocess.run((*EDGE, *map(str, words), "--json"), stdout=subprocess.PIPE, text=True, check=False)
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        document = {"what": f"no answer, exit {done.returncode}"}
    return done.returncode, document


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a row as text."""
    answer, pace = row["export"], row["speed"]
    if row["exit"]:
        reason = answer.get("what", "")[:60]
        return (row["name"], row["kind"], *("",) * 8, f"{row['verdict']}: {reason}")
    return (
        row["name"],
        row["kind"],
        answer["exporter"],
        str(answer["opset"]["written"]),
        str(answer["cases"]),
        f"{answer['worst']['of_tolerance']:.0%}",
        size(sum(file["bytes"] for file in answer["files"])),
        duration(pace["p50_ns"]) if pace.get("p50_ns") else "",
        *(ratio(pace.get(rival)) for rival in RIVALS),
        row["verdict"],
    )


def ratio(pair: dict[str, Any] | None) -> str:
    """Return a comparison as text."""
    if not pair or pair.get("speedup") is None:
        return ""
    spread = "" if pair.get("low") is None else f" [{pair['low']:.2f}, {pair['high']:.2f}]"
    return f"{pair['speedup']:.2f}x{spread}"


if __name__ == "__main__":
    main()
