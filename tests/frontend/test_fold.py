"""Batch norm and other scales by channel in the weights, padding in the convolution."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from sparsegen.frontend import from_torch
from sparsegen.graph import Conv2d, Linear
from tests.frontend.checking import Function, check, describe, images, randomised


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm_after_a_convolution(bias: bool, affine: bool) -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3, bias=bias), nn.BatchNorm2d(6, affine=affine), nn.ReLU())
    graph = check(randomised(model), images())
    assert describe(graph) == ["Conv2d relu"]
    assert not graph.constants


def test_batch_norm_after_a_grouped_convolution() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8))
    assert describe(check(randomised(model), images())) == ["Conv2d"]


def test_batch_norm_after_a_linear() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU())
    assert describe(check(randomised(model), images(3, 5))) == ["Linear relu"]


def test_batch_norm_over_the_wrong_dimension_is_not_folded() -> None:
    model = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5))
    assert describe(check(randomised(model), images(3, 5, 5))) == ["Linear mul add"]


def test_batch_norm_before_a_convolution_stays_two_steps() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    graph = check(randomised(model), images())
    assert describe(graph) == ["Identity mul add relu", "Conv2d"]
    assert {name: array.shape for name, array in graph.constants.items()} == {
        "0.scale": (4, 1, 1),
        "0.shift": (4, 1, 1),
    }


def test_batch_norm_is_not_folded_past_another_reader() -> None:
    class TwoReaders(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, value: Tensor) -> Tensor:
            middle = self.conv(value)
            return torch.cat([middle, self.norm(middle)], 1)

    assert describe(check(randomised(TwoReaders()), images())) == ["Conv2d", "Identity mul add", "Concat"]


def test_tied_convolutions_are_folded_apart() -> None:
    conv = nn.Conv2d(4, 4, 1)
    model = nn.Sequential(conv, nn.BatchNorm2d(4), nn.ReLU(), conv, nn.ReLU())
    graph = check(randomised(model), images())
    assert describe(graph) == ["Conv2d relu", "Conv2d relu"]
    first, second = (layer.core for layer in graph.layers)
    assert isinstance(first, Conv2d)
    assert isinstance(second, Conv2d)
    assert not np.array_equal(first.weight, second.weight)


def test_scales_other_than_batch_norms() -> None:
    weight, scale, shift = images(4, 4, 1, 1), images(4, 1, 1, seed=2), images(1, 4, 1, 1, seed=3)

    def scaled(value: Tensor, weight: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return (((F.conv2d(value, weight) + 0.5) * scale - shift) / 255).relu() * 2

    graph = check(Function(scaled, weight, scale, shift), images())
    assert describe(graph) == ["Conv2d relu mul"]


def test_constant_minus_a_convolution_is_not_folded() -> None:
    graph = check(Function(lambda x, w: 1 - F.conv2d(x, w), images(4, 4, 1, 1)), images())
    assert describe(graph) == ["Conv2d sub"]


def test_constant_that_differs_by_pixel_is_not_folded() -> None:
    graph = check(Function(lambda x, w, c: F.conv2d(x, w) + c, images(4, 4, 1, 1), images(9, 8)), images())
    assert describe(graph) == ["Conv2d add"]


def test_linear_scale_is_over_the_last_dimension() -> None:
    graph = check(Function(lambda x, w, c: F.linear(x, w) * c, images(5, 8), images(5)), images())
    assert describe(graph) == ["Linear"]
    assert isinstance(graph.layers[0].core, Linear)


def test_pruned_weights_stay_zero() -> None:
    model = randomised(nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8)))
    with torch.no_grad():
        prune.l1_unstructured(model[0], "weight", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = check(model, images())
    (layer,) = graph.layers
    assert isinstance(layer.core, Conv2d)
    assert (layer.core.weight == 0).mean() == 0.5
    assert not graph.constants


def test_zero_padding_goes_into_the_convolution() -> None:
    model = nn.Sequential(nn.ZeroPad2d((1, 2, 3, 4)), nn.Conv2d(4, 4, 3, padding=(1, 0)))
    graph = check(model.eval(), images())
    (layer,) = graph.layers
    assert isinstance(layer.core, Conv2d)
    assert layer.core.padding == (4, 5, 1, 2)
    assert layer.inputs == ("input",)


@pytest.mark.parametrize(
    "padding",
    [
        nn.ConstantPad2d(1, 0.5),  # not zeros
        nn.ConstantPad3d((1, 1, 1, 1, 1, 1), 0),  # channels too
    ],
)
def test_other_padding_stays(padding: nn.Module) -> None:
    channels = 6 if isinstance(padding, nn.ConstantPad3d) else 4
    graph = check(nn.Sequential(padding, nn.Conv2d(channels, 4, 3)).eval(), images())
    assert describe(graph) == ["Pad", "Conv2d"]


def test_padding_with_another_reader_stays() -> None:
    def padded_twice(value: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(value, (1, 1, 1, 1))
        return F.conv2d(padded, weight), F.max_pool2d(padded, 2)

    graph = check(Function(padded_twice, images(4, 4, 3, 3)), images())
    assert describe(graph) == ["Pad", "Conv2d", "Pool2d"]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda y: y * 1e38, "mul"),
        (lambda y: y * 2 * 1e38, "mul"),
        (lambda y: y / 1e-40, "div"),
        (lambda y: y * torch.inf, "mul"),
        (lambda y: y / torch.inf, "div"),
        (lambda y: y + torch.nan, "add"),
        (lambda y: y / 0.0, "div"),
        (lambda y: y + 1e8 - 1e8, "add sub"),
        (lambda y: y * 2 + 1e8 - 1e8, "add sub"),
        (lambda y: (y + 12582912.0) * 0.5 - 6291456.0, "add mul sub"),
        (lambda y: (y + 1.0) * 0.0 - 1e-9 + 1e-9, "add mul sub add"),
    ],
)
def test_what_would_change_more_than_rounding_is_not_folded(
    change: Callable[[Tensor], Tensor], left: str
) -> None:
    class Changed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)
            self.conv.weight.data = torch.tensor([[10.0, 0.0], [-20.0, 30.0]]).reshape(2, 2, 1, 1)

        def forward(self, value: Tensor) -> Tensor:
            return change(self.conv(value))

    graph = from_torch(Changed().eval(), (images(1, 2, 3, 3),))
    assert describe(graph) == [f"Conv2d {left}"]
    assert np.isfinite(graph.layers[0].core.weight).all()
