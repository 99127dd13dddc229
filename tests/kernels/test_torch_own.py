"""Torch's own operators where they were measured to be faster: a choice like any other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sparsegen
from sparsegen.errors import OptionError
from sparsegen.frontend import from_torch
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.registry import best_offer, offers
from sparsegen.target import parse_target

CONVOLUTION = dict.fromkeys(("panels", "dense_panels", "grouped", "depthwise"), 1.0)
LINEAR = dict.fromkeys(("panels", "dense_panels", "rows", "masked_vectors"), 1.0)
SLOW = {
    **dict.fromkeys(("first", "second", "conv"), CONVOLUTION),
    "last": LINEAR,
    "matmul": {"matmul": 1.0},
}
"""Times of our kernels for layers of the networks below."""


class Network(nn.Module):
    """Convolutions, one of them activated, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.second = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=2, dilation=(1, 1))
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu())
        return self.last(x.mean((2, 3)))


class Products(nn.Module):
    """Products of two values, transposed and not."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x @ y.mT, (x.mT @ y).relu()


def compiled(network: nn.Module, inputs: tuple[Tensor, ...], **options: Any) -> sparsegen.CompiledModel:
    return sparsegen.compile(
        network.eval(), inputs, threads=1, target="haswell", database=None, winograd=False, **options
    )


def agrees(model: sparsegen.CompiledModel, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        torch.testing.assert_close(model(*inputs), network(*inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("layer", ["first", "second", "last"])
def test_a_layer_that_torch_computes_faster(layer: str, batch: int) -> None:
    network, inputs = Network(), (torch.randn(batch, 3, 11, 9),)
    model = compiled(network, inputs, measured={layer: {"torch": 1e-12, **SLOW[layer]}})
    agrees(model, network, inputs)
    report = next(each for each in model.layers if each.kernel == "torch")
    assert report.name.removesuffix("#torch") == layer
    assert report.operator == ("aten.linear.default" if layer == "last" else "aten.convolution.default")
    assert report.reason == "torch's own operator was measured to be faster"
    assert sum(each.kernel == "torch" for each in model.layers) == 1


def test_conversions_count() -> None:
    network, inputs = Network(), (torch.randn(8, 3, 64, 64),)
    # A little faster than our kernel, and slower than that with two conversions.
    model = compiled(network, inputs, measured={"second": {"torch": 1e-6, "grouped": 1.1e-6}})
    assert all(each.kernel != "torch" for each in model.layers)
    agrees(model, network, inputs)


def test_measured_times_stand_in_place_of_estimates() -> None:
    network, inputs = Network(), (torch.randn(8, 3, 11, 9),)
    graph = from_torch(network.eval(), inputs)
    slow = {"first": {"panels": 2.0, "dense_panels": 3.0}}
    plan = plan_graph(graph, threads=1, target=parse_target("haswell"), measured=slow)
    costs = {o.implementation.name: o.cost for o in offers(plan.layer("first"), plan.context)}
    assert costs["dense_panels"].seconds == 3.0
    assert costs["dense_panels"].origin == "measured"
    assert costs["winograd"].origin == "predicted"
    assert best_offer(plan.layer("first"), plan.context).implementation.name == "winograd"


@pytest.mark.parametrize(
    ("name", "measured", "why"),
    [
        ("first", "sparse_winograd", "no filter is zero everywhere"),
        ("first", "panels", "no zeros are worth skipping"),
        ("second", "winograd", "grouped convolutions run dense"),
        ("last", "masked_vectors", ""),
    ],
)
def test_an_implementation_that_cannot_compute_a_layer_is_told(name: str, measured: str, why: str) -> None:
    network, inputs = Network(), (torch.randn(8, 3, 11, 9),)
    graph = from_torch(network.eval(), inputs)
    target = parse_target("haswell")
    plan = plan_graph(graph, threads=1, target=target, measured={name: {measured: 1e-9}})
    (told,) = plan.unserved.items()
    assert told[0] == name
    assert told[1].startswith(f"{measured} was measured and cannot compute it: {why}")
    assert not plan_graph(graph, threads=1, target=target).unserved


def test_products_of_values() -> None:
    network, inputs = Products(), (torch.randn(2, 3, 4, 6), torch.randn(2, 3, 4, 6))
    quick = {name: {"torch": 1e-12, "matmul": 1.0} for name in ("matmul", "matmul#2")}
    model = compiled(network, inputs, measured=quick)
    agrees(model, network, inputs)
    torchs = [each.operator for each in model.layers if each.kernel == "torch"]
    assert torchs.count("aten.matmul.default") == 2
    assert set(torchs) <= {"aten.matmul.default", "aten.transpose.int", "aten.permute.default"}


class Uneven(nn.Module):
    """What torch has no single operator for, or what has a constant among its factors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 4, 2, padding="same")
        self.register_buffer("factor", torch.randn(4, 5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) @ self.factor


@pytest.mark.parametrize("layer", ["conv", "matmul"])
def test_what_torch_has_no_operator_for_keeps_its_kernel(layer: str) -> None:
    network, inputs = Uneven(), (torch.randn(2, 4, 6, 5),)
    names = [each.name for each in compiled(network, inputs).layers]
    assert layer in names
    model = compiled(network, inputs, measured={layer: {"torch": 1e-12, **SLOW[layer]}})
    assert all(each.kernel != "torch" for each in model.layers)
    (report,) = [each for each in model.layers if each.name == layer]
    assert "torch was measured and cannot compute it: torch has no operator for it" in report.reason
    agrees(model, network, inputs)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"third": {"torch": 1.0}}, "times are given for 'third': no layer is called so"),
        ({"first": {"torch": 0.0}}, "layer 'first': torch takes 0.0 seconds; a number above 0"),
        ({"first": {"panels": float("nan")}}, "layer 'first': panels takes nan seconds"),
        ({"first": {"panels": float("inf")}}, "layer 'first': panels takes inf seconds"),
        ({"first": {"torch": "fast"}}, "layer 'first': torch takes 'fast' seconds"),
        (
            {"first": {"torhc": 1.0}},
            "layer 'first': there is no implementation 'torhc' of Conv2d; there are",
        ),
        (
            {"first": {"matmul": 1.0}},
            "no implementation 'matmul' of Conv2d; there are dense_panels, .*winog",
        ),
        ({"first": {"rows": 1.0}}, "there is no implementation 'rows' of Conv2d"),
        ({"first": 1.0}, "layer 'first': the times are 1.0: give seconds by layer and implementation"),
        ([("first", 1.0)], "measured is a list: give seconds by layer"),
    ],
)
def test_what_is_no_time(measured: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        compiled(Network(), (torch.randn(1, 3, 11, 9),), measured=measured)
