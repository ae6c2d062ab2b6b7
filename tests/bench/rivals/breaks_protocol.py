"""Finds the protocol's private descriptor and writes what is no event into it."""

import os
import stat

from edge_runtime.contender import EdgeContender


class BreaksProtocol(EdgeContender):
    def load(self) -> None:
        for descriptor in range(3, 64):
            try:
                if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                    os.write(descriptor, b"this is no event\n")
            except OSError:
                continue
        super().load()


open_contender = BreaksProtocol
