"""Train the digits network in seconds on scikit-learn's own data: `python examples/digits/train.py [FOLDER]`.

Writes digits.pt (a state_dict), held-back.npz (images and labels never trained on) and real.npz (one real image, for
`edge export --data`).
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from model import DigitsNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

EPOCHS, BATCH, SEED = 12, 32, 0


def main() -> None:
    """Train, say the accuracy of each epoch, save."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # batches this small gain nothing from more, and lose much on a busy machine
    torch.use_deterministic_algorithms(mode=True)
    bunch = load_digits()
    images = (bunch.images / 16).astype(np.float32)[:, None]  # the data counts ink from 0 to 16
    seen, held_back, seen_labels, held_back_labels = train_test_split(
        images, bunch.target, test_size=0.25, random_state=SEED, stratify=bunch.target
    )
    network = DigitsNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, epochs=EPOCHS, steps_per_epoch=len(seen) // BATCH)
    begin = time.perf_counter()
    for epoch in range(EPOCHS):
        network.train()
        order = torch.randperm(len(seen))
        for batch in order[: len(seen) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            scores = network(torch.from_numpy(seen)[batch])
            nn.functional.cross_entropy(scores, torch.from_numpy(seen_labels)[batch]).backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            right = network(torch.from_numpy(held_back)).argmax(1).numpy() == held_back_labels
        told = f"epoch {epoch + 1:>2} of {EPOCHS}: {right.mean():.4f} of {len(right)} held-back digits right"
        print(f"{told}, {time.perf_counter() - begin:.1f} s", flush=True)
    torch.save(network.state_dict(), folder / "digits.pt")
    np.savez(folder / "held-back.npz", image=held_back, label=held_back_labels)
    np.savez(folder / "real.npz", image=held_back[:1])


if __name__ == "__main__":
    main()
