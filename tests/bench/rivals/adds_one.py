"""Answers wrongly, every time."""

from edge_runtime.contender import EdgeContender


class AddsOne(EdgeContender):
    def answers(self, returned):
        return {name: array + 1 for name, array in super().answers(returned).items()}


open_contender = AddsOne
