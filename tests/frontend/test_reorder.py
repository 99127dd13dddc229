"""Average pooling moves before a pointwise convolution, where that is the same."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from sparsegen.graph import Conv2d, Pool2d
from tests.frontend.checking import Function, check, describe, images


def order(model: nn.Module) -> list[type]:
    """The cores of the model's graph, in order, which computes what the model does."""
    return [type(layer.core) for layer in check(model.eval(), images(2, 4, 9, 8)).layers]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("pooling", [nn.AvgPool2d(2), nn.AvgPool2d(3, stride=2), nn.AvgPool2d((9, 8))])
def test_pooling_comes_first(pooling: nn.Module, groups: int, bias: bool) -> None:
    assert order(nn.Sequential(nn.Conv2d(4, 6, 1, groups=groups, bias=bias), pooling)) == [Pool2d, Conv2d]


def test_what_follows_reads_the_convolution() -> None:
    convolution = nn.Conv2d(4, 4, 1).eval()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.pooling = convolution, nn.AvgPool2d(2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            pooled = self.pooling(self.convolution(x))
            return pooled, pooled.relu() + x[:, :, :4, :4]

    graph = check(Model().eval(), images(2, 4, 9, 8))
    assert describe(graph)[:2] == ["Pool2d", "Conv2d"]
    assert graph.outputs[0] == "convolution"


def test_steps_after_the_pooling_stay_after_it() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 1), nn.AvgPool2d(2), nn.ReLU())
    assert describe(check(model.eval(), images(2, 4, 9, 8))) == ["Pool2d", "Conv2d relu"]


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(4, 6, 1), nn.ReLU(), nn.AvgPool2d(2)),
        (nn.Conv2d(4, 6, 1), nn.MaxPool2d(2)),
        (nn.Conv2d(4, 6, 3), nn.AvgPool2d(2)),
        (nn.Conv2d(4, 6, 1, stride=2), nn.AvgPool2d(2)),
        (nn.Conv2d(4, 6, 1, padding=1), nn.AvgPool2d(2)),
        (nn.Conv2d(4, 6, 1), nn.AvgPool2d(2, padding=1)),
        (nn.Conv2d(4, 6, 1), nn.AvgPool2d(2, ceil_mode=True)),
        (nn.Conv2d(4, 6, 1), nn.AvgPool2d(2, divisor_override=3)),
        (nn.Conv2d(4, 6, 1), nn.AvgPool2d(1)),
    ],
    ids=["relu", "max", "3x3", "stride", "padded", "padding", "ceil mode", "divisor", "nothing pooled"],
)
def test_other_orders_stay(layers: tuple[nn.Module, ...]) -> None:
    assert order(nn.Sequential(*layers)) == [Conv2d, Pool2d]


def test_a_result_that_others_read_stays() -> None:
    def both(x: Tensor, weight: Tensor) -> Any:
        result = nn.functional.conv2d(x, weight)
        return result, nn.functional.avg_pool2d(result, 2)

    cores = [type(each.core) for each in check(Function(both, images(6, 4, 1, 1)), images(2, 4, 9, 8)).layers]
    assert cores == [Conv2d, Pool2d]


def test_a_pooled_result_that_others_read_is_not_pooled_again() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(4, 6, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            once = nn.functional.avg_pool2d(self.convolution(x), 2)
            return once, nn.functional.avg_pool2d(once, 2)

    cores = [type(layer.core) for layer in check(Model().eval(), images(2, 4, 9, 8)).layers]
    assert cores == [Pool2d, Conv2d, Pool2d]


def test_pooling_twice_comes_first_twice() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 1), nn.AvgPool2d(2), nn.AvgPool2d(2))
    assert order(model) == [Pool2d, Pool2d, Conv2d]
