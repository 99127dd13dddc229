"""Convolution and pooling over drawn strides, paddings, dilations, groups and ceil mode.

An example is several windows at once: exporting a model costs far more than another layer in it.
"""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.frontend.checking import check, describe, images
from tests.sampling import examples

HEIGHT, WIDTH = 11, 9
WINDOWS = 8


class Parallel(nn.Module):
    """Several modules on one input; their results in a list."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.eval()

    def forward(self, value: Tensor) -> list[Tensor]:
        return [branch(value) for branch in self.branches]


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Module:
    groups = draw(st.sampled_from((1, 2, 4)))
    kernel = draw(pairs(1, 4))
    stride = draw(pairs(1, 3))
    padding = draw(pairs(0, 3) | st.sampled_from(("valid", "same")))
    return nn.Conv2d(
        4,
        4 * draw(st.integers(1, 2)),
        kernel,
        stride=1 if padding == "same" else stride,
        padding=padding,
        dilation=draw(pairs(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
    )


@st.composite
def pools(draw: st.DrawFn) -> nn.Module:
    kernel = draw(pairs(1, 4))
    stride = draw(pairs(1, 4))
    padding = draw(st.tuples(st.integers(0, kernel[0] // 2), st.integers(0, kernel[1] // 2)))
    ceil_mode = draw(st.booleans())
    if draw(st.booleans()):
        return nn.MaxPool2d(kernel, stride, padding, dilation=draw(pairs(1, 2)), ceil_mode=ceil_mode)
    return nn.AvgPool2d(
        kernel,
        stride,
        padding,
        ceil_mode=ceil_mode,
        count_include_pad=draw(st.booleans()),
        divisor_override=draw(st.none() | st.integers(1, 5)),
    )


@examples(10)
@given(st.lists(convolutions(), min_size=WINDOWS, max_size=WINDOWS))
def test_convolutions(branches: list[nn.Module]) -> None:
    graph = check(Parallel(branches), images(2, 4, HEIGHT, WIDTH))
    assert describe(graph) == ["Conv2d"] * WINDOWS


@examples(10)
@given(st.lists(pools(), min_size=WINDOWS, max_size=WINDOWS))
def test_pools(branches: list[nn.Module]) -> None:
    graph = check(Parallel(branches), images(2, 4, HEIGHT, WIDTH))
    assert describe(graph) == ["Pool2d"] * WINDOWS


@examples(5)
@given(st.lists(pairs(1, 8), min_size=WINDOWS, max_size=WINDOWS))
def test_adaptive_pools(sizes: list[tuple[int, int]]) -> None:
    kinds = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    branches = [kinds[index % 2](size) for index, size in enumerate(sizes)]
    graph = check(Parallel(branches), images(2, 4, HEIGHT, WIDTH))
    assert describe(graph) == ["AdaptivePool2d"] * WINDOWS


def test_ceil_mode_window_that_hangs_over_the_padding() -> None:
    branches = [
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(2, 2, dilation=2, ceil_mode=True),
    ]
    check(Parallel(branches), -images(1, 2, 8, 8).abs() - 1)


def test_weights_are_copies_of_the_models() -> None:
    model = nn.Conv2d(2, 3, 3).eval()
    value = images(1, 2, 5, 5)
    graph = check(model, value)
    with torch.no_grad():
        model.weight.zero_()
    assert graph.layers[0].core.weight.any()
