"""``make zoo``: every network and trap through the whole road, as a table; exit 1 unless each is as it should be.

Each is exported by the command, held against PyTorch on inputs that the proof has not seen (`fresh`), and what is equal
is measured against eager and compiled PyTorch, side by side and each in processes of its own.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from edge_runtime.console import table
from edge_runtime.units import duration, size
from tests.zoo.entry import Entry, entries, weights_folder

EDGE = (sys.executable, "-m", "edge_runtime")
RIVALS = ("torch", "torch-compile")
ROWS = "matrix.json"
LIMIT_S = 1800  # for one step of one row: the longest takes minutes on a busy machine
NETWORKS = ("network", "kind", "exporter", "opset", "cases", "error", "size", "p50", "torch", "compiled", "verdict")
TRAPS = ("trap", "exporter", "opset", "cases", "error", "verdict")

Row = dict[str, Any]


def main() -> None:
    """Walk through all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.zoo.matrix", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this one alone; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the rows with all that was answered")
    parser.add_argument("--rounds", default="6", help="of the measurement: intervals need 6 (default: 6)")
    parser.add_argument("--no-bench", action="store_true", help="no latencies")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="artifacts and rows stay there, and a repeated run goes on"
    )
    options = parser.parse_args()
    chosen = [one for one in entries() if not options.only or one.name in options.only]
    unknown = set(options.only) - {one.name for one in chosen}
    missing = [one.missing for one in chosen if one.missing]
    if unknown or missing:
        sys.exit(missing[0] if missing else f"no network or trap is called {', '.join(sorted(unknown))}")
    os.environ["EDGE_ZOO"] = str(weights_folder())
    begin, rows = time.monotonic(), {}
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory(prefix="edge-zoo-") as place:
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / ROWS).exists():
            rows = json.loads((folder / ROWS).read_text(encoding="utf-8"))
        for index, one in enumerate(chosen, 1):
            print(f"[{index}/{len(chosen)}] {one.name}", file=sys.stderr, flush=True)
            rounds = None if options.no_bench or not one.package else options.rounds
            rows[one.name] = row = walked(one, folder, rows.get(one.name))
            if rounds and row["as_it_should"] and not row.get("speed"):
                row["speed"] = speed(folder / f"{one.name}.edge", rounds)
            (folder / ROWS).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    rows = {one.name: rows[one.name] for one in chosen}
    print_matrix(chosen, rows)
    print(f"all of it took {(time.monotonic() - begin) / 60:.0f} min")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    sys.exit(any(not row["as_it_should"] for row in rows.values()))


def walked(one: Entry, folder: Path, before: Row | None) -> Row:
    """Return a row: what the export answered, and whether it is equal afresh; the row before, if that was right."""
    artifact = folder / f"{one.name}.edge"
    if before and before["as_it_should"]:
        return before
    begin = time.monotonic()
    code, answer = asked(*EDGE, "export", one.source, *one.flags, "-o", artifact, "--force", "--json")
    row: Row = {"exit": code, "export": answer, "export_s": round(time.monotonic() - begin, 1)}
    if one.verdict == "refused":
        right = one.as_refused(code, answer) and not artifact.exists()
        told = answer.get("what", "")
        return {**row, "as_it_should": right, "verdict": f"refused: {told}" if code else "equal, and should not be"}
    if code:
        return {**row, "as_it_should": False, "verdict": f"failed: {answer.get('what', '')}"}
    written = answer["opset"]["written"]
    code, fresh = asked(sys.executable, "-m", "tests.zoo.fresh", one.source, artifact)
    row["fresh"] = fresh.get("worst", math.inf)
    if one.opset not in (None, written):
        return {**row, "as_it_should": False, "verdict": f"opset {one.opset} asked, {written} written"}
    right = row["fresh"] < one.close
    verdict = "equal" if right else f"differs afresh by {row['fresh']:.2g} of its largest value {fresh.get('what', '')}"
    return {**row, "as_it_should": right, "verdict": verdict}


def speed(artifact: Path, rounds: str) -> Row:
    """Return our p50, and each rival's over it with the interval."""
    words = ("--against", ",".join(RIVALS), "--rounds", rounds, "--budget", f"{LIMIT_S}s", "--json")
    code, answer = asked(*EDGE, "bench", artifact, *words)
    if code or "summary" not in answer:
        return {"problem": answer.get("what", f"exit {code}")}
    summary = answer["summary"]
    latency = (summary["contenders"].get("edge") or {}).get("latency_ns") or {}
    against = {pair["baseline"]: pair for pair in summary["comparisons"]}
    return {"p50_ns": (latency.get("p50") or [None])[0], "warnings": answer.get("warnings"), **against}


def asked(*words: object) -> tuple[int, dict[str, Any]]:
    """Run a command that answers one JSON document; return its exit code and that, or what is wrong in its place."""
    try:
        done = subprocess.run([*map(str, words)], stdout=subprocess.PIPE, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return -1, {"what": f"no answer in {LIMIT_S} s"}
    try:
        document = json.loads(done.stdout)
    except ValueError:
        document = None
    return done.returncode, document if isinstance(document, dict) else {"what": f"no answer, exit {done.returncode}"}


def print_matrix(chosen: list[Entry], rows: dict[str, Row]) -> None:
    """Print the networks with their figures, the traps with what became of them, and how many are right."""
    networks = [(one, rows[one.name]) for one in chosen if one.package]
    traps = [(one, rows[one.name]) for one in chosen if not one.package]
    if networks:
        print(table([NETWORKS, *(network(one, row) for one, row in networks)], "<<<>>>>>>><"))
        print(
            "\nerror: the worst over its tolerance; torch, compiled: their p50 over ours, one thread, 95 % intervals\n"
        )
    if traps:
        print(table([TRAPS, *(trap(one, row) for one, row in traps)], "<<>>><"), end="\n\n")
    wrong = [one.name for one in chosen if not rows[one.name]["as_it_should"]]
    print(f"{len(chosen) - len(wrong)} of {len(chosen)} as they should be{': not ' * bool(wrong)}{', '.join(wrong)}")


def network(one: Entry, row: Row) -> tuple[str, ...]:
    """Return the row of a network as text."""
    answer, pace = row["export"], row.get("speed") or {}
    files = sum(file["bytes"] for file in answer.get("files", ()))
    return (
        one.name,
        one.kind,
        *proof(row),
        size(files) if files else "",
        duration(pace["p50_ns"]) if pace.get("p50_ns") else "",
        *(ratio(pace.get(rival)) for rival in RIVALS),
        verdict(row) + (f"; not measured: {pace['problem']}" if "problem" in pace else ""),
    )


def trap(one: Entry, row: Row) -> tuple[str, ...]:
    """Return the row of a trap as text."""
    return (one.kind.removeprefix("trap: "), *proof(row), verdict(row))


def proof(row: Row) -> tuple[str, ...]:
    """Return exporter, opset, cases and worst error as text."""
    answer = row["export"]
    if row["exit"]:
        return ("",) * 4
    worst = answer["worst"]["of_tolerance"]
    return (answer["exporter"], str(answer["opset"]["written"]), str(answer["cases"]), f"{worst:.2f}")


def verdict(row: Row) -> str:
    """Return it on one line, and loud where it is not what it should be."""
    return ("" if row["as_it_should"] else "WRONG: ") + textwrap.shorten(row["verdict"], 100, placeholder=" …")


def ratio(pair: Row | None) -> str:
    """Return a comparison as text."""
    if not pair or pair.get("speedup") is None:
        return "–" if not pair else str(pair.get("verdict", "–"))
    spread = "" if pair.get("low") is None else f" [{pair['low']:.2f}, {pair['high']:.2f}]"
    return f"{pair['speedup']:.2f}x{spread}"


if __name__ == "__main__":
    main()
