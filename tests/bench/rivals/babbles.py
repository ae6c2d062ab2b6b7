"""Answers right, and writes into the protocol's private descriptor while it is timed."""

import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_runtime.contender import EdgeContender, Step

if TYPE_CHECKING:
    from edge_runtime.npz import Array


class Babbles(EdgeContender):
    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        call, calls = super().prepare(inputs), 0

        def step() -> object:
            nonlocal calls
            calls += 1
            if calls == 101:
                _babble()
            return call()

        return step


def _babble() -> None:
    for descriptor in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, b'{"event": "timing", "block_ns": [1\xff\n')
        except OSError:
            continue


open_contender = Babbles
