from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from export_tools.ties import choices, tied

SCORES = torch.tensor([[1.0, 3.0, 3.0, 0.0], [5.0, 2.0, 4.0, 4.0]])
Forward = Callable[[Tensor], Tensor]


def is_tied(
    forward: Forward, got: list[int] | list[list[int]], scores: Tensor = SCORES, *, precise: bool = True
) -> bool:
    (output,), plain = choices(lambda: [forward(scores)])
    _, wide = choices(lambda: [forward(scores.double())])
    return tied(output, torch.tensor(got), plain, wide if precise else None)


def argmax(x: Tensor) -> Tensor:
    return x.argmax(1)


def test_an_index_of_an_equal_score_is_as_right() -> None:
    assert argmax(SCORES).tolist() == [1, 0]
    assert is_tied(argmax, [2, 0])
    assert not is_tied(argmax, [0, 0])
    assert not is_tied(argmax, [1, 1])


def test_scores_within_rounding_are_equal_and_no_further() -> None:
    near, far = SCORES.clone(), SCORES.clone()
    near[0, 2], far[0, 2] = 3.0 - 3e-6, 3.0 - 3e-3
    assert is_tied(argmax, [2, 0], near)
    assert not is_tied(argmax, [2, 0], far)
    assert is_tied(argmax, [2, 0], far, precise=False)  # the tolerance of a module without float64 is a thousandth


def test_what_rounding_does_to_the_scores_is_measured() -> None:
    def cancels(x: Tensor) -> Tensor:
        return ((x + 1000.001) - 1000).argmax(1)

    close = torch.tensor([[0.5, 0.5 + 4e-5]])
    assert cancels(close).tolist() == [1]
    assert is_tied(cancels, [0], close)
    assert not is_tied(argmax, [0], close)


def test_the_order_of_equal_scores_may_differ_but_none_may_be_there_twice() -> None:
    def topk(x: Tensor) -> Tensor:
        return x.topk(3).indices.int()

    (first, second, third), (fourth, fifth, sixth) = topk(SCORES).tolist()
    assert ({first, second}, third, fourth) == ({1, 2}, 0, 0)
    assert is_tied(topk, [[second, first, third], [fourth, sixth, fifth]])
    assert not is_tied(topk, [[first, first, third], [fourth, fifth, sixth]])
    assert not is_tied(topk, [[third, second, first], [fourth, fifth, sixth]])


@pytest.mark.parametrize("outside", [-1, 4])
def test_an_index_that_is_not_there_is_wrong(outside: int) -> None:
    assert not is_tied(argmax, [outside, 0])


def test_a_choice_among_all_values_and_one_that_was_reshaped_count_too() -> None:
    equal = torch.tensor([[1.0, 7.0], [7.0, 0.0]])
    assert is_tied(lambda x: x.argmax(), [2], equal)
    assert not is_tied(lambda x: x.argmax(), [3], equal)
    assert is_tied(lambda x: x.max(dim=0, keepdim=True).indices.reshape(2), [0, 0], torch.ones(2, 2))


def test_an_integer_that_nothing_chose_is_no_index() -> None:
    assert not is_tied(lambda x: (x * 2).long()[:, 0], [1, 10])
