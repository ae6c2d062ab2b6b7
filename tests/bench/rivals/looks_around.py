"""Tells as its engine which host packages it could import, what PYTHON variables it sees, and where its home is."""

import importlib
import os
import sys
from pathlib import Path

from edge_runtime.contender import EdgeContender

HOST_PACKAGES = ("torch", "onnx", "onnxscript", "rich", "psutil", "bench", "export_tools", "pytest", "pip")


class LooksAround(EdgeContender):
    def import_engine(self) -> str:
        super().import_engine()
        found = []
        for name in HOST_PACKAGES:
            try:
                importlib.import_module(name)
                found.append(name)
            except ImportError:
                continue
        python = [name for name in os.environ if name.startswith("PYTHON")]
        third = sorted(n for n in sys.modules if n in {"numpy", "onnxruntime", "edge_runtime"})
        return f"host={found} python={python} there={third} home={Path.home().name}"


open_contender = LooksAround
