"""`make peers-test`: every peer engine for real, on the digits example: installed, right, and with figures.

Trains and exports the example into a temporary folder, runs one round of `edge bench` against each peer, and exits 1
when one of them was skipped, lost or wrong. Its times are of one round: they say that it runs, not how fast.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench import bench
from bench.contenders import KINDS
from edge_runtime.rounds import Plan

DIGITS = Path(__file__).resolve().parent.parent / "examples/digits"
PEERS = ("openvino", "mnn", "ncnn", "tract", "executorch")


def main() -> int:
    """Run the peers named on the command line, or all; return the exit code."""
    peers = sys.argv[1:] or [name for name in KINDS if name in PEERS]
    with tempfile.TemporaryDirectory(prefix="edge-peers-") as folder:
        made = Path(folder)
        subprocess.run([sys.executable, DIGITS / "train.py", made], check=True)
        edge = (sys.executable, "-m", "edge_runtime", "export", DIGITS / "model.py:build")
        words = ("--weights", made / "digits.pt", "--data", made / "real.npz", "--dynamic", "image:0=batch")
        subprocess.run([*edge, *words, "--output-names", "scores", "-o", made / "digits.edge"], check=True)
        record = bench(made / "digits.edge", against=peers, plan=Plan(rounds=1))
    bad = 0
    for one in record.contenders:
        fine = one.failure is None and one.answers.agree is True and len(record.launches_of(one.name)) == 1
        bad += not fine
        told = one.failure.reason if one.failure else one.answers.problem or f"off by {one.answers.max_abs}"
        print(f"{'ok  ' if fine else 'FAIL'} {one.name}: {one.engine or 'not reached'}, {told}")
        print(f"     {', '.join(f'{key} {value}' for key, value in one.configuration.items())}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
