"""Every pointwise operator, and networks of them, for devices that have few: what is left is told why."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_structure

from sparsegen.devices import Estimate, Operator, estimate, table
from sparsegen.devices.operators import describe_graph
from sparsegen.frontend import from_torch
from sparsegen.graph import UNARY, Identity, Layer, LayerGraph, Step
from sparsegen.rewriting.draft import Price
from sparsegen.rewriting.parts import taken_apart
from sparsegen.rewriting.rewrite import rewrite
from sparsegen.rewriting.search import Search
from sparsegen.rewriting.site import Interval
from sparsegen.torch_graph.graph import TorchGraph
from tests.rewriting.rewritings import allowing, as_it_is, in_float64, site

CONVOLUTIONS = ("conv", "depthwise_conv", "grouped_conv", "relu", "concat", "reshape", "add", "slice")
SHAPE = (1, 4, 15, 15)
MAX_ERROR = 2e-2
PARAMETERS: dict[str, tuple[float, ...]] = {
    "leaky_relu": (0.1,), "clamp": (-1.0, 2.0), "pow": (3.0,), "elu": (1.0, 1.0, 1.0),
    "piecewise": (0.25, 0.5, -1.0, 1.0, 2.0, -1.5),
    "softplus": (1.0, 20.0), "hardshrink": (0.5,), "softshrink": (0.5,), "threshold": (0.5, 0.5),
}  # fmt: skip
POSITIVE = ("log", "log2", "log10", "log1p", "sqrt")
JUMPS = "it jumps, and sums of ReLUs are continuous"
LEFT = {"floor": JUMPS, "ceil": JUMPS, "trunc": JUMPS, "round": JUMPS, "sign": JUMPS, "hardshrink": JUMPS}
"""What no device without such an operator can do, and why."""


def by_work(operator: Operator) -> Estimate:
    """A device of convolutions and ReLUs, by the work of operators."""
    seconds = 0.0 if operator.kind == "view" else 1e-6 + 1e-9 * (operator.multiply_adds + operator.written)
    return replace(allowing(*CONVOLUTIONS)(operator), seconds=seconds)


def edgetpu(operator: Operator) -> Estimate:
    return estimate(table("edgetpu-usb3"), operator)


@pytest.fixture(scope="module", params=[by_work, edgetpu], ids=["convolutions", "edgetpu"])
def search(request: pytest.FixtureRequest) -> Search:
    return Search(request.param, MAX_ERROR)


@pytest.mark.parametrize("op", UNARY)
def test_every_operator_of_one_value_is_supported_or_told_why_not(search: Search, op: str) -> None:
    interval = (0.1, 4.0) if op in POSITIVE else (-4.0, 4.0)
    layer = Layer("y", Identity(), ("x",), SHAPE, (Step(op, parameters=PARAMETERS.get(op, ())),))
    here = site(layer, {"x": SHAPE}, intervals={"x": interval})
    way = search.best(here)
    if op in LEFT:
        assert way is None
        assert LEFT[op] in [each.reason for each in search.tried(here)]
        return
    assert way is not None, search.tried(here)
    check_way(way.layers, way.result, way.constants, here, interval, way.error)


@pytest.mark.parametrize(
    "step",
    [
        Step("mul", "z"),
        Step("div", "z"),
        Step("sub", "z"),
        Step("maximum", "z"),
        Step("minimum", "z"),
        Step("prelu", "z"),
    ],
    ids=lambda step: step.op,
)
def test_operators_of_two_values_are_supported(search: Search, step: Step) -> None:
    interval = (0.5, 2.0)
    layer = Layer("y", Identity(), ("x",), SHAPE, (step,))
    here = site(layer, {"x": SHAPE, "z": SHAPE}, intervals={"x": interval, "z": interval})
    way = search.best(here)
    assert way is not None, search.tried(here)
    check_way(way.layers, way.result, way.constants, here, interval, way.error)


def check_way(layers, result, constants, here, interval: Interval, error: float) -> None:  # type: ignore[no-untyped-def]
    graph = LayerGraph(dict(here.shapes), list(layers), (result,), dict(constants))
    x = torch.linspace(*interval, math.prod(SHAPE), dtype=torch.float64).reshape(SHAPE)
    inputs = [x, x.flip(3)][: len(here.shapes)]
    found, expected = in_float64(graph, *inputs), in_float64(as_it_is(here), *inputs)
    assert error <= MAX_ERROR
    assert (found - expected).abs().max() <= error + 1e-6 * (1 + expected.abs().max())


class Gated(nn.Module):
    """A convolution, an activation, and a gate of each channel, as EfficientNet has them."""

    def __init__(self, activation: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.activation, self.gate = activation, gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.first(x))
        pooled = F.max_pool2d(x, x.shape[2:])
        result: torch.Tensor = self.last(x * self.gate(self.excite(F.relu(self.squeeze(pooled)))))
        return result


def calibrated(graph: LayerGraph, x: torch.Tensor) -> dict[str, Interval]:
    """What all values of a graph lie in for an input."""
    parts = taken_apart(graph)
    names = tuple(layer.name for layer in parts.layers)
    everything = replace(parts, outputs=names, output_spec=tree_structure([0] * len(names)))
    values = {**dict(zip(names, TorchGraph(everything)(x), strict=True)), **dict.fromkeys(graph.inputs, x)}
    return {name: (float(value.min()), float(value.max())) for name, value in values.items()}


@pytest.mark.parametrize(
    ("price", "activation", "gate"),
    [
        (by_work, nn.SiLU(), nn.Sigmoid()),
        (by_work, nn.Hardswish(), nn.Hardsigmoid()),
        (edgetpu, nn.SiLU(), nn.Sigmoid()),
        (edgetpu, nn.Hardswish(), nn.Hardsigmoid()),
        (edgetpu, nn.Mish(), nn.Sigmoid()),
        (edgetpu, nn.GELU(), nn.Tanh()),
    ],
)
def test_a_network_with_gates_is_fully_supported(
    price: Price, activation: nn.Module, gate: nn.Module
) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 8)
    graph = from_torch(Gated(activation, gate).eval(), (x,))
    named = partial(pooling_too, price)
    found = rewrite(graph, named, max_error=1e-2, intervals=calibrated(graph, x))
    assert found.unsupported == ()
    assert all(named(operator).supported for operator in describe_graph(found.graph).values())
    difference = (in_float64(found.graph, x) - in_float64(graph, x)).abs().max()
    assert difference < 4e-2


def pooling_too(price: Price, operator: Operator) -> Estimate:
    """A price for a device that also has max pooling."""
    found = price(operator)
    return replace(found, seconds=1e-6, reason="") if operator.name == "max_pool" else found


def test_an_lstm_runs_by_convolutions_and_relus_and_linear() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.network(x)[0]
            return result

    torch.manual_seed(0)
    x = torch.randn(1, 3, 3)
    graph = from_torch(Reader().eval(), (x,))
    found = rewrite(graph, allowing(*CONVOLUTIONS, "linear"), max_error=5e-3, intervals=calibrated(graph, x))
    assert found.unsupported == ()
    assert {each.word for each in found.replaced} == {"approximated"}
    assert (in_float64(found.graph, x) - in_float64(graph, x)).abs().max() < 2e-2


def test_a_softmax_runs_by_convolutions_and_relus() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6)
    graph = from_torch(nn.Softmax(1).eval(), (x,))
    found = rewrite(
        graph, allowing(*CONVOLUTIONS, "reduce_max"), max_error=3e-2, intervals=calibrated(graph, x)
    )
    assert found.unsupported == ()
    assert (in_float64(found.graph, x) - in_float64(graph, x)).abs().max() < 6e-2
