"""Right in its first launch, wrong in all later ones."""

from pathlib import Path

from edge_runtime.contender import EdgeContender


class LateWrong(EdgeContender):
    def __init__(self, job):
        super().__init__(job)
        marker = Path.home() / "was-here"
        self._off = 1 if marker.exists() else 0
        marker.touch()

    def answers(self, returned):
        return {name: array + self._off for name, array in super().answers(returned).items()}


open_contender = LateWrong
