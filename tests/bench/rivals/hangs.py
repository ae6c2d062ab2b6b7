"""Never comes back."""

import time

from edge_runtime.contender import EdgeContender


class Hangs(EdgeContender):
    def load(self) -> None:
        time.sleep(600)


open_contender = Hangs
