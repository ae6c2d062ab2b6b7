"""MTCNN's first stage: where in an image of any size could a face be (facenet-pytorch, MIT)."""

import os
from pathlib import Path

import torch
from torch import nn

KIND = "detector, any height and width"
PACKAGE = "facenet-pytorch"
FILE = "facenet_pytorch/data/pnet.pt"
FLAGS = (
    *("--dynamic", "image:0=batch:1..4", "--dynamic", "image:2=height:12..160", "--dynamic", "image:3=width:12..160"),
    *("--range", "image=-1..1", "--output-names", "boxes,faces"),
)
VERDICT = "equal"
FAST = False


class PNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.pool1(self.prelu1(self.conv1(image)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_2(x), self.conv4_1(x).softmax(1)


def build() -> tuple[nn.Module, torch.Tensor]:
    module = PNet()
    module.load_state_dict(torch.load(Path(os.environ["EDGE_ZOO"], FILE), weights_only=True))
    return module, torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
