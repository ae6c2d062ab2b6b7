"""MTCNN's last stage: a box, five landmarks and whether it is a face, from 48x48 pixels (facenet-pytorch, MIT)."""

import os
from pathlib import Path

import torch
from torch import nn

KIND = "detector head"
PACKAGE = "facenet-pytorch"
FILE = "facenet_pytorch/data/onet.pt"
FLAGS = ("--dynamic", "image:0=batch", "--range", "image=-1..1")
VERDICT = "equal"
FAST = False


class ONet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.wide, self.narrow = nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, 2, ceil_mode=True)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.wide(self.prelu1(self.conv1(image)))
        x = self.wide(self.prelu2(self.conv2(x)))
        x = self.narrow(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x)).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu5(self.dense5(x))
        return {"box": self.dense6_2(x), "landmarks": self.dense6_3(x), "face": self.dense6_1(x).softmax(1)}


def build() -> tuple[nn.Module, torch.Tensor]:
    module = ONet()
    module.load_state_dict(torch.load(Path(os.environ["EDGE_ZOO"], FILE), weights_only=True))
    return module, torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
