"""Transposed convolutions, convolutions of rows, pixel shuffles: as convolutions of images, and fused so."""

from __future__ import annotations

import itertools
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsegen.compiler import compile_graph
from sparsegen.errors import UnsupportedOperatorError
from sparsegen.frontend import from_torch, functional
from sparsegen.graph import Conv2d, LayerGraph, PixelShuffle
from tests.frontend.checking import Function, check, describe, images, randomised
from tests.kernels.contract import TOLERANCE
from tests.reference import evaluate
from tests.sampling import examples, large


@st.composite
def axis(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """(extent, taps, stride, padding, output_padding, dilation) of a transposed convolution."""
    extent, taps, stride = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    dilation, padding = draw(st.integers(1, 3)), draw(st.integers(0, 6))
    more = draw(st.integers(0, max(stride, dilation) - 1))
    assume((extent - 1) * stride - 2 * padding + dilation * (taps - 1) + more + 1 > 0)
    return extent, taps, stride, padding, more, dilation


@examples(40)
@given(axis(), axis(), st.sampled_from([(1, 3, 2), (2, 2, 3), (3, 1, 1), (2, 1, 2)]), st.booleans())
def test_any_transposed_convolution(vertical, horizontal, channels, bias):
    extent, *parameters = zip(vertical, horizontal, strict=True)
    kernel, stride, padding, more, dilation = parameters
    groups, each, outputs = channels
    model = nn.ConvTranspose2d(
        groups * each, groups * outputs, kernel, stride, padding, more, groups, bias, dilation
    )
    graph = check(model.eval(), images(2, groups * each, *extent))
    assert set(describe(graph)) <= {"Conv2d", "PixelShuffle"}


def conv_of(graph: LayerGraph) -> Conv2d:
    (core,) = (layer.core for layer in graph.layers if isinstance(layer.core, Conv2d))
    return core


@pytest.mark.parametrize(("kernel", "padding", "more"), [(2, 0, 0), (3, 1, 1), (4, 1, 0), (6, 2, 0)])
def test_doubling_crops_nothing(kernel: int, padding: int, more: int) -> None:
    """The convolution has its input's size, so that no pixel is computed to be thrown away."""
    model = nn.ConvTranspose2d(4, 3, kernel, 2, padding, more).eval()
    graph = from_torch(model, (images(),))
    assert [layer.shape for layer in graph.layers] == [(2, 12, 9, 8), (2, 3, 18, 16)]
    assert graph.layers[1].core == PixelShuffle((2, 2))
    assert np.count_nonzero(conv_of(graph).weight) == torch.count_nonzero(model.weight)


def test_zeros_of_a_transposed_convolution_stay() -> None:
    model = nn.ConvTranspose2d(4, 3, 4, 2, 1).eval()
    model.weight.data[:, :, ::2] = 0
    kept = np.count_nonzero(conv_of(from_torch(model, (images(),))).weight)
    assert kept == torch.count_nonzero(model.weight) == model.weight.numel() // 2


def test_stride_1_is_one_convolution_that_keeps_its_dilation() -> None:
    model = nn.ConvTranspose2d(4, 6, 3, padding=1, dilation=2).eval()
    graph = check(model, images())
    assert describe(graph) == ["Conv2d"]
    assert conv_of(graph).weight.shape == (6, 4, 3, 3)
    assert conv_of(graph).dilation == (2, 2)


def test_batch_norm_and_activations_go_before_the_shuffle() -> None:
    model = nn.Sequential(
        nn.ConvTranspose2d(4, 6, 4, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1), nn.PixelShuffle(2), nn.LeakyReLU(0.1),
    )  # fmt: skip
    graph = check(randomised(model), images())
    assert describe(graph) == ["Conv2d relu", "PixelShuffle", "Conv2d leaky_relu", "PixelShuffle"]
    assert cast(Conv2d, graph.layers[0].core).bias is not None


def test_what_is_not_by_channel_stays_behind_the_shuffle() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(4, 4, 2, 2)
            self.register_buffer("by_row", images(18, 1))

        def forward(self, x: Tensor) -> Tensor:
            return ((self.up(x) * 2) * self.by_row + F.interpolate(x, scale_factor=2)).relu()

    graph = check(Model().eval(), images())
    assert describe(graph)[:1] == ["Conv2d"]  # which takes in the factor of 2
    assert "PixelShuffle mul" in describe(graph)


def test_a_convolution_that_something_else_reads_stays_as_it_is() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.conv(x)
            return y, F.pixel_shuffle(y, 2).relu()

    assert describe(check(Model().eval(), images())) == ["Conv2d", "PixelShuffle relu"]


@pytest.mark.parametrize(
    "shuffle", [nn.PixelShuffle(3), nn.PixelUnshuffle(2), nn.PixelShuffle(1), nn.PixelUnshuffle(1)]
)
@pytest.mark.parametrize("before", [(2,), (), (2, 3)])
def test_shuffles_of_images_with_any_dimensions_before(shuffle: nn.Module, before: tuple[int, ...]) -> None:
    layers = describe(check(Function(lambda x: shuffle(x) + 1), images(*before, 9, 4, 6)))
    assert sum(layer.startswith("Pixel") for layer in layers) == (shuffle(images(9, 4, 6)).shape[0] != 9)


ROWS: dict[str, tuple[nn.Module, list[str]]] = {
    "convolution": (nn.Conv1d(4, 6, 3, 2, 1), ["Conv2d"]),
    "dilated, in groups": (nn.Conv1d(4, 6, 3, groups=2, dilation=2, bias=False), ["Conv2d"]),
    "same padding, even kernel": (nn.Conv1d(4, 6, 4, padding="same"), ["Conv2d"]),
    "valid padding": (nn.Conv1d(4, 6, 4, padding="valid"), ["Conv2d"]),
    "transposed": (nn.ConvTranspose1d(4, 6, 4, 2, 1), ["Conv2d", "PixelShuffle"]),
    "transposed, in groups": (
        nn.ConvTranspose1d(4, 6, 3, 3, 2, 1, groups=2, dilation=2), ["Conv2d", "PixelShuffle"],
    ),
    "max pool": (nn.MaxPool1d(3, 2, 1), ["Pool2d"]),
    "max pool, dilated": (nn.MaxPool1d(2, dilation=2, ceil_mode=True), ["Pool2d"]),
    "average pool": (nn.AvgPool1d(3, 2, 1, count_include_pad=False), ["Pool2d"]),
    "adaptive average": (nn.AdaptiveAvgPool1d(3), ["AdaptivePool2d"]),
    "adaptive max": (nn.AdaptiveMaxPool1d(3), ["AdaptivePool2d"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_images_of_one_row(name: str) -> None:
    model, layers = ROWS[name]
    assert describe(check(model.eval(), images(2, 4, 17))) == ["Reshape", *layers, "Reshape"]


@pytest.mark.parametrize("name", ROWS)
def test_rows_without_a_batch(name: str) -> None:
    model, layers = ROWS[name]
    assert describe(check(model.eval(), images(4, 17))) == ["Reshape", *layers, "Reshape"]


IMAGES: dict[str, nn.Module] = {
    "convolution": nn.Conv2d(4, 6, 3, 2, 1),
    "transposed": nn.ConvTranspose2d(4, 6, 3, 2, 1),
    "max pool": nn.MaxPool2d(3, 2, 1),
    "average pool": nn.AvgPool2d(2),
    "adaptive average": nn.AdaptiveAvgPool2d((3, 1)),
    "adaptive max": nn.AdaptiveMaxPool2d(2),
    "network": nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 3, 1)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_without_a_batch(name: str) -> None:
    layers = describe(check(IMAGES[name].eval(), images(4, 9, 8)))
    assert not any(layer.startswith("Extern") for layer in layers)


def test_aten_convolution_of_rows() -> None:
    model = Function(
        lambda x, weight: torch.convolution(x, weight, None, [2], [1], [1], True, [1], 1), images(4, 3, 3)
    )
    assert describe(check(model, images(2, 4, 9))) == ["Reshape", "Conv2d", "PixelShuffle", "Reshape"]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(6, 6, 3, padding=1), nn.Conv1d(6, 6, 5, padding=2)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.second(F.gelu(self.first(x)))) + x)


def test_convolutions_of_rows_follow_each_other_as_images() -> None:
    model = nn.Sequential(
        nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), Residual(),
        nn.ConvTranspose1d(6, 2, 2, 2), nn.Tanh(),
    )  # fmt: skip
    assert describe(check(randomised(model), images(2, 4, 17))) == [
        "Reshape", "Conv2d relu", "Pool2d", "Conv2d gelu", "Conv2d add relu", "Conv2d tanh", "PixelShuffle",
        "Reshape",
    ]  # fmt: skip


def test_rows_that_are_read_as_rows_too() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv1d(4, 4, 3, padding=1), nn.Linear(9, 9)
            self.register_buffer("along", images(9))
            self.register_buffer("whole", images(2, 4, 9))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            y = self.conv(x).relu()
            return y, self.linear(y) + y, self.conv(y * self.along + self.whole + x)

    check(Model().eval(), images(2, 4, 9))


def test_volumes_are_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="2, 3, 1, 1, 1"):
        from_torch(Function(lambda x, w: torch.convolution(
            x, w, None, [1] * 3, [0] * 3, [1] * 3, False, [0] * 3, 1), images(2, 3, 1, 1, 1)),
            (images(2, 3, 4, 4, 4),), fallback="error",
        )  # fmt: skip


def test_they_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "trace_anew", lambda program: pytest.fail("it is traced anew"))
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding="same"), nn.ConvTranspose2d(4, 4, 2, 2), nn.PixelUnshuffle(2),
        nn.PixelShuffle(2), nn.ChannelShuffle(2), nn.Flatten(2), nn.Conv1d(4, 4, 3), nn.MaxPool1d(2),
        nn.AvgPool1d(2), nn.ConvTranspose1d(4, 4, 2, 2), nn.AdaptiveAvgPool1d(2),
    ).eval()  # fmt: skip
    from_torch(model, (images(),))


@large(("batch", "threads"), itertools.product([1, 3, 16, 17], [1, 2]), sample=4)
def test_compiled(batch: int, threads: int) -> None:
    """Between convolutions with halos, pruned and not; shuffles with a crop and without."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ConvTranspose2d(6, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 8, 3, padding=1), nn.PixelShuffle(2),
        nn.ConvTranspose2d(2, 4, (2, 3), 3, 4, groups=2, output_padding=(0, 2)), nn.PixelUnshuffle(3),
        nn.Conv2d(36, 2, 3, padding=2), nn.Flatten(2), nn.Conv1d(2, 3, 5, 2), nn.SiLU(),
        nn.ConvTranspose1d(3, 2, 3, 2),
    )  # fmt: skip
    for module in model:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.data *= torch.rand_like(module.weight) < 0.5
    x = images(batch, 3, 5, 7)
    graph = check(randomised(model), x)
    (expected,) = evaluate(graph, (x,))
    compiled = compile_graph(graph, threads=threads)
    for _ in range(2):
        error = (compiled(x).double() - expected).abs().max()
        assert error <= TOLERANCE * expected.abs().max()
