"""Prints on stdout, from Python and straight to the file descriptor."""

import os
import sys

from edge_runtime.contender import EdgeContender


class Talks(EdgeContender):
    def load(self) -> None:
        sys.stdout.write("hello from Python\n")
        os.write(1, b"hello from C\n")
        super().load()


open_contender = Talks
