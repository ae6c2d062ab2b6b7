"""Prints on stdout, from Python and straight to the file descriptor."""

import os

from edge_runtime.contender import EdgeContender


class Talks(EdgeContender):
    def load(self):
        print("hello from Python")
        os.write(1, b"hello from C\n")
        super().load()


open_contender = Talks
