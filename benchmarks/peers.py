"""`make peers-test`: every peer engine for real, on the digits example: installed, right, and on its own CPUs.

Trains and exports the example into a temporary folder, runs one round of `edge bench` against the peers with one thread
and one with two, and exits 1 when one of them was skipped, lost or wrong, or kept more CPUs busy than it was given. Its
times are of one round: they say that it runs, not how fast.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench import bench
from bench.contenders import KINDS
from edge_runtime import summary
from edge_runtime.environment import available_cpus
from edge_runtime.record import Record
from edge_runtime.rounds import Plan

DIGITS = Path(__file__).resolve().parent.parent / "examples/digits"
PEERS = ("openvino", "mnn", "ncnn", "tract", "executorch", "litert")
ONE_THREAD = ("tract",)  # has to be skipped where others get more
LEEWAY = 0.1  # of a CPU: clock ticks of 10 ms at both ends of a block of a second


def main() -> int:
    """Run the peers named on the command line, or all; return the exit code."""
    peers = sys.argv[1:] or [name for name in KINDS if name in PEERS]
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="edge-peers-") as folder:
        made = Path(folder)
        subprocess.run([sys.executable, DIGITS / "train.py", made], check=True)
        edge = (sys.executable, "-m", "edge_runtime", "export", DIGITS / "model.py:build")
        words = ("--weights", made / "digits.pt", "--data", made / "real.npz", "--dynamic", "image:0=batch")
        subprocess.run([*edge, *words, "--output-names", "scores", "-o", made / "digits.edge"], check=True)
        for threads in range(1, min(2, len(available_cpus())) + 1):
            record = bench(made / "digits.edge", against=peers, plan=Plan(rounds=1, threads=threads))
            wrong += told(record)
    return 1 if wrong else 0


def told(record: Record) -> int:
    """Print how each contender did; return how many did not do as they should."""
    wrong = 0
    threads = record.config.threads
    for one in record.contenders:
        busy = summary.cpus_used(record, one.name)
        fine = one.failure is None and one.answers.agree is True and len(record.launches_of(one.name)) == 1
        if one.name in ONE_THREAD and threads > 1:
            fine = one.failure is not None and one.failure.kind == "skipped"
        fine = fine and (busy is None or busy <= threads + LEEWAY)
        wrong += not fine
        said = one.failure.reason if one.failure else one.answers.problem or f"off by {one.answers.max_abs}"
        print(f"{'ok  ' if fine else 'FAIL'} {one.name}, {threads} thread(s): {one.engine or 'not reached'}, {said}")
        configured = ", ".join(f"{key} {value}" for key, value in one.configuration.items())
        print(f"     {'' if busy is None else f'{busy:.2f} CPUs busy, '}{configured}")
    if wrong:
        print("\n".join(f"     {warning}" for warning in record.warnings))
    return wrong


if __name__ == "__main__":
    sys.exit(main())
