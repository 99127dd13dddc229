"""Networks whose shapes devices refuse: all of it supported after rewriting, and the numbers the same."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from bench.detectors import Boxes
from sparsegen.devices import describe_graph, estimate, table, unsupported
from sparsegen.devices.section import Section
from sparsegen.devices.table_files import parse_table
from sparsegen.frontend import from_torch
from sparsegen.graph import Conv2d, LayerGraph
from sparsegen.rewriting.rewrite import Rewritten, rewrite
from tests.devices.samples import TABLE
from tests.rewriting.rewritings import in_float64, pricing

NETWORKS = {
    "classifier": nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ),
    "patches": nn.Sequential(
        nn.Conv2d(3, 4, 8, 8), nn.ReLU(),
        nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(4, 4, 2),
    ),
    "decoder": nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Upsample(scale_factor=2.0), nn.PixelShuffle(2), nn.ChannelShuffle(1),
        nn.Upsample(scale_factor=2.0, mode="bilinear"),
    ),
    "groups": nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=2), nn.ChannelShuffle(2), nn.PixelUnshuffle(2),
        nn.Conv2d(24, 24, 5, padding=2, groups=24), nn.ReLU6(),
    ),
}  # fmt: skip
X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@functools.cache  # all devices share it
def network(name: str, batch: int = 1) -> LayerGraph:
    torch.manual_seed(0)
    return from_torch(NETWORKS[name].eval(), (X[:batch],))


def rewritten(graph: LayerGraph, device: str) -> Rewritten:
    return rewrite(graph, functools.partial(estimate, table(device)))


@pytest.mark.parametrize("device", ["relu-conv", "edgetpu-usb3", "ethos-u55"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_all_is_supported_and_the_same(name: str, batch: int, device: str) -> None:
    graph = network(name, batch)
    found = rewritten(graph, device)
    assert found.unsupported == ()
    for operator in describe_graph(found.graph).values():
        assert unsupported(table(device), operator) == ""
    x = X[:batch]
    torch.testing.assert_close(in_float64(found.graph, x), in_float64(graph, x), rtol=1e-5, atol=1e-5)


def test_a_large_kernel_becomes_kernels_that_the_device_takes() -> None:
    small = parse_table("small", Section("small", {**TABLE, "supports": {"kernel": 3, "stride": 2}}))
    torch.manual_seed(0)
    graph = from_torch(nn.Conv2d(3, 4, 11, 4, 5).eval(), (X[:1],))
    found = rewrite(graph, functools.partial(estimate, small))
    assert found.unsupported == ()
    kernels = [layer.core.weight.shape[2:] for layer in found.graph.layers if isinstance(layer.core, Conv2d)]
    assert kernels
    assert max(map(max, kernels)) <= 3
    expected = in_float64(graph, X[:1])
    torch.testing.assert_close(in_float64(found.graph, X[:1]), expected, rtol=1e-5, atol=1e-5)


def test_more_channels_than_a_device_takes_are_halved() -> None:
    few = parse_table("few", Section("few", {**TABLE, "supports": {"channels": 4}}))
    torch.manual_seed(0)
    layers = (
        *(nn.Conv2d(3, 7, 3), nn.ReLU6(), nn.Conv2d(7, 7, 3, groups=7), nn.GELU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(7, 6, 1), nn.PReLU(6), nn.Conv2d(6, 9, 3, groups=3), nn.Conv2d(9, 3, 1)),
    )
    graph = from_torch(nn.Sequential(*layers).eval(), (X,))
    found = rewrite(graph, functools.partial(estimate, few))
    assert found.unsupported == ()
    for operator in describe_graph(found.graph).values():
        assert unsupported(few, operator) == ""
        assert operator.kind == "view" or all(len(shape) < 4 or shape[1] <= 4 for shape in operator.shapes)
    torch.testing.assert_close(in_float64(found.graph, X), in_float64(graph, X), rtol=1e-5, atol=1e-5)


def test_smaller_operators_that_are_refused_for_the_same_are_not_followed() -> None:
    torch.manual_seed(0)
    graph = from_torch(nn.MaxPool2d(5, 2, 2).eval(), (X,))
    asked = list[str]()

    def reason(name: str) -> str:
        asked.append(name)
        return f"it has no {name}" if name != "reshape" else ""

    found = rewrite(graph, pricing(lambda operator: reason(operator.name)))
    (only,) = found.unsupported
    told = {each.rule: each.reason for each in only.tried}
    assert (
        told["large max pooling by two smaller ones"] == "what it makes is refused, too: it has no max_pool"
    )
    assert told["images as channels"] == "what it makes is refused, too: it has no max_pool"
    assert len(asked) < 1000


def test_heads_of_detectors_are_supported_and_the_same() -> None:
    torch.manual_seed(0)
    head = Boxes(4, 16, 8, ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)))
    x = torch.randn(1, 4, 16, 16)
    graph = from_torch(head.eval(), (x,))
    found = rewritten(graph, "edgetpu-usb3")
    assert found.unsupported == ()
    assert {each.operator for each in found.replaced} >= {"transpose", "square"}
    torch.testing.assert_close(in_float64(found.graph, x), in_float64(graph, x), rtol=1e-5, atol=1e-5)


def test_layer_norm_runs_by_reciprocal_square_roots() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 6, 8)
    graph = from_torch(nn.LayerNorm(8).eval(), (x,))
    found = rewritten(graph, "edgetpu-usb3")
    assert found.unsupported == ()
    torch.testing.assert_close(in_float64(found.graph, x), in_float64(graph, x), rtol=1e-5, atol=1e-5)
    (left,) = rewritten(graph, "ethos-u55").unsupported
    (tried,) = left.tried
    assert tried.reason == "it needs pow: ethos-u55 has no rsqrt"
