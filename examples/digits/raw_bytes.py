"""Bytes in, named digits out: what an artifact that speaks the camera's units saves its caller.

`python examples/digits/raw_bytes.py FOLDER`, where train.py wrote its files and both artifacts were exported to:
digits.edge, and bytes.edge with `--preprocess units.toml --range image=0..16 --postprocess softmax,top3
--labels labels.txt --output-names scores,digits`.
"""

import sys
from pathlib import Path

import numpy as np

import edge_runtime as edge


def main() -> None:
    """Compare the two on every held-back digit; exit 1 when they name one differently."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    with np.load(folder / "held-back.npz") as held_back:
        floats = held_back["image"]
    raw = np.rint(floats[:, 0] * 16).astype(np.uint8)  # as scikit-learn gives them, and as a scanner would

    by_floats = edge.load(folder / "digits.edge")(image=floats)["scores"].argmax(1)
    named = edge.load(folder / "bytes.edge")
    answers = named(image=raw)
    labels = named.artifact.manifest.labels or ()
    for digits, shares in zip(answers["digits"][:3], answers["scores"][:3], strict=True):
        print(", ".join(f"{labels[digit]} {share:.1%}" for digit, share in zip(digits, shares, strict=True)))
    print(f"{floats[0].nbytes} bytes a digit as floats, {raw[0].nbytes} as they come")
    differing = int((answers["digits"][:, 0] != by_floats).sum())
    print(f"{differing} of {len(raw)} digits are named differently")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
