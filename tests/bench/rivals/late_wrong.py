"""Right in its first launch, wrong in all later ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.contender import EdgeContender, Job

if TYPE_CHECKING:
    from edge_runtime.npz import Array


class LateWrong(EdgeContender):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        marker = Path.home() / "was-here"
        self._off = 1 if marker.exists() else 0
        marker.touch()

    def answers(self, returned: object) -> "Mapping[str, Array]":
        return {name: array + self._off for name, array in super().answers(returned).items()}


open_contender = LateWrong
