"""Answers wrongly, every time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_runtime.contender import EdgeContender

if TYPE_CHECKING:
    from edge_runtime.npz import Array


class AddsOne(EdgeContender):
    def answers(self, returned: object) -> "Mapping[str, Array]":
        return {name: array + 1 for name, array in super().answers(returned).items()}


open_contender = AddsOne
