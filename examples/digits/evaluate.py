"""Accuracy on held-back digits in PyTorch, in onnxruntime and in our runtime, which must agree sample by sample.

`python examples/digits/evaluate.py FOLDER`, where train.py wrote its files and digits.edge was exported to.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from model import build

import edge_runtime as edge


def main() -> None:
    """Print one line per engine; exit 1 when one sample is classified differently by any two of them."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    with np.load(folder / "held-back.npz") as held_back:
        images, labels = held_back["image"], held_back["label"]

    module = build().eval()
    module.load_state_dict(torch.load(folder / "digits.pt", weights_only=True))
    session = onnxruntime.InferenceSession(folder / "digits.edge/fp32/model.onnx", providers=["CPUExecutionProvider"])
    model = edge.load(folder / "digits.edge")

    with torch.inference_mode():
        by_torch = module(torch.from_numpy(images)).numpy()
    scores = {
        "torch": by_torch,
        "onnxruntime": session.run(None, {"image": images})[0],
        "edge": model(image=images)["scores"],
        # a board sees one image at a time
        "edge, one by one": np.concatenate([model(image=image[None])["scores"] for image in images]),
    }
    print(f"{'engine':<18}{'right':>6}{'of':>6}{'accuracy':>10}{'largest difference of a score to torch':>42}")
    for engine, answers in scores.items():
        right = int((answers.argmax(1) == labels).sum())
        gap = float(np.abs(answers - by_torch).max())
        print(f"{engine:<18}{right:>6}{len(labels):>6}{right / len(labels):>10.4f}{gap:>42.1e}")
    disagreements = sum(int((answers.argmax(1) != by_torch.argmax(1)).sum()) for answers in scores.values())
    print(f"{disagreements} samples are classified differently by any of them")
    sys.exit(1 if disagreements else 0)


if __name__ == "__main__":
    main()
