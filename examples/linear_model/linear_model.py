"""The article's model and how it saves it: the whole module, pickled by the script that defines it."""

import sys

import torch


class LinearModel(torch.nn.Module):
    """One linear layer by hand, with a ReLU: float32[batch, 13] to float32[batch, 1]."""

    def __init__(self, features: int = 13) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.randn(features, 1))
        self.bias = torch.nn.Parameter(torch.zeros(1))
        self.relu = torch.nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(x @ weights + bias)."""
        answers: torch.Tensor = self.relu(x @ self.weights + self.bias)
        return answers


if __name__ == "__main__":
    torch.manual_seed(13)
    torch.save(LinearModel(13).eval(), sys.argv[1] if len(sys.argv) > 1 else "linear_model.pt")
