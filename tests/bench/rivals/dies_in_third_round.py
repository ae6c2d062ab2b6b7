"""Is killed once, while it is timed in its third round, as by a kernel out of memory."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.contender import EdgeContender, Step

if TYPE_CHECKING:
    from edge_runtime.npz import Array


class DiesInThirdRound(EdgeContender):
    def prepare(self, inputs: "Mapping[str, Array]") -> Step:
        call, calls = super().prepare(inputs), 0

        def step() -> object:
            nonlocal calls
            calls += 1
            if calls == 101:  # more often than any launch but a timed one calls it
                rounds = Path.home() / "rounds"
                with rounds.open("a") as kept:
                    kept.write("x")
                if rounds.stat().st_size == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call()

        return step


open_contender = DiesInThirdRound
