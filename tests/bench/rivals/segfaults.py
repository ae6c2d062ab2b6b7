"""Answers right, and reads address 0 once it has been called more often than any launch but a timed one calls it."""

import ctypes
import resource
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_runtime.contender import EdgeContender, Step

if TYPE_CHECKING:
    from edge_runtime.npz import Array


class Segfaults(EdgeContender):
    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        call, calls = super().prepare(inputs), 0
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        def step() -> object:
            nonlocal calls
            calls += 1
            if calls > 100:
                ctypes.string_at(0)
            return call()

        return step


open_contender = Segfaults
