"""Rules chained: the cheapest way wins, what nothing serves stays, and the graph computes the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from sparsegen.devices import Estimate, Operator
from sparsegen.frontend import from_torch
from sparsegen.graph import Identity, Layer, LayerGraph, Step
from sparsegen.rewriting import PiecewiseLinear, approximate
from sparsegen.rewriting import fits as fitting
from sparsegen.rewriting import search as searching
from sparsegen.rewriting.calibration import intervals_on
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.memory import Way
from sparsegen.rewriting.rewrite import rewrite
from sparsegen.rewriting.search import Search
from sparsegen.rewriting.site import Site
from tests.rewriting.rewritings import allowing, as_it_is, drawn, in_float64, rule_named, site

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def step_of(op: str, *parameters: float) -> Layer:
    return Layer("y", Identity(), ("x",), (2, 3), (Step(op, parameters=parameters),))


def network(activation: nn.Module) -> LayerGraph:
    torch.manual_seed(0)
    return from_torch(nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.Conv2d(4, 2, 1)).eval(), (X,))


def test_rules_chain_until_all_is_supported() -> None:
    found = rewrite(network(nn.Hardswish()), allowing("conv", "relu", "add", "sub", "mul"))
    assert found.unsupported == ()
    (only,) = found.replaced
    assert (only.operator, only.word) == ("hardswish", "decomposed")
    assert only.rules == ("hard swish by ReLU6", "ReLU6 by ReLUs")
    expected = in_float64(network(nn.Hardswish()), X)
    torch.testing.assert_close(in_float64(found.graph, X), expected, rtol=1e-12, atol=1e-12)


def test_the_cheapest_way_wins() -> None:
    def price(operator: Operator) -> Estimate:
        own = {"relu6": 5.0, "sub": 1.0, "relu": 1.0, "add": 1.0, "mul": 1.0}
        names = [operator.name] if operator.kind != "pointwise" else list(operator.steps)
        missing = [name for name in names if name not in own]
        seconds = sum(own.get(name, math.inf) for name in names)
        return Estimate(seconds, 0, 0, 0, reason=f"it has no {missing[0]}" if missing else "")

    y = step_of("hardswish")
    way = Search(price).best(site(y, {"x": (2, 3)}))
    assert way is not None
    assert way.seconds == 8.0  # relu6 is there, dearer than its parts: what is there is taken
    assert [layer.epilogue[0].op for layer in way.layers] == ["add", "relu6", "mul", "mul"]


def test_what_no_rule_serves_stays_and_says_what_was_tried() -> None:
    graph = network(nn.SiLU())
    found = rewrite(graph, allowing("conv", "mul"))
    (only,) = found.unsupported
    assert (only.operator, only.word, only.reason) == ("silu", "unsupported", "it has no pointwise")
    assert ("SiLU by sigmoid", math.inf) in [(each.rule, each.seconds) for each in only.tried]
    assert any("sigmoid" in each.reason for each in only.tried)
    assert torch.equal(in_float64(found.graph, X), in_float64(graph, X))


def test_a_supported_graph_is_left_alone() -> None:
    graph = network(nn.ReLU())
    found = rewrite(graph, allowing("conv", "relu"))
    assert found.replaced == ()
    assert [layer.name for layer in found.graph.layers] == [layer.name for layer in graph.layers]


@pytest.mark.parametrize("op", ["hardswish", "relu6", "silu"])
def test_a_way_computes_the_site(op: str) -> None:
    here = site(step_of(op), {"x": (2, 3)})
    way = Search(allowing("relu", "sigmoid", "add", "sub", "mul")).best(here)
    assert way is not None
    graph = LayerGraph({"x": (2, 3)}, list(way.layers), (way.result,), dict(way.constants))
    (x,) = drawn(here)
    torch.testing.assert_close(in_float64(graph, x), in_float64(as_it_is(here), x), rtol=1e-12, atol=1e-12)


def by_work(operator: Operator) -> Estimate:
    """A price by multiply-adds and elements, of a device with convolutions, ReLUs and sums."""
    known = ("conv", "depthwise_conv", "grouped_conv", "relu", "reshape", "add", "mul", "concat")
    reason = allowing(*known)(operator).reason
    return Estimate(1e-9 * (1 + operator.multiply_adds + operator.written), 0, 0, 0, reason=reason)


@pytest.mark.parametrize(
    ("step", "interval", "fits"),
    [
        (Step("sigmoid"), (-2.0, 3.0), 1),
        (Step("silu"), (-2.0, 3.0), 3),
        (Step("pow", parameters=(-0.5,)), (1e-12, 90.0), 0),  # by log, whose error exp makes a million of
    ],
    ids=lambda each: getattr(each, "op", None),
)
def test_only_what_can_win_is_fitted_and_nothing_is_missed(
    step: Step, interval: tuple[float, float], fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site(
        Layer("y", Identity(), ("x",), (1, 8, 4, 4), (step,)), {"x": (1, 8, 4, 4)}, intervals={"x": interval}
    )
    made = list[str]()

    def counted(f: Any, **options: Any) -> PiecewiseLinear:
        made.append(str(f))
        return approximate(f, **options)

    def ways() -> tuple[Any, ...]:
        made.clear()
        fitting._fit.cache_clear()
        way = Search(by_work, 3e-2).best(here)
        return (
            (None,) if way is None else (way.seconds, way.rules, way.error, [*map(repr, way.approximations)])
        )

    monkeypatch.setattr(fitting, "approximate", counted)
    found, few = ways(), len(made)
    monkeypatch.setattr(Draft, "affords", lambda *_: True)
    monkeypatch.setattr(Search, "_least_error", lambda *_: 0.0)
    monkeypatch.setattr(searching, "_left", lambda costs: [0.0] * len(costs))
    assert found == ways()
    assert few <= fits < len(made)


@pytest.mark.parametrize(
    ("for_all", "on_range", "relies"),
    [(1.0, 0.95, False), (1.0, 0.8, True), (1.0, 1.2, False), (1.0, None, False), (None, 5.0, True)],
)
def test_a_way_for_all_inputs_is_taken_unless_another_is_clearly_cheaper(
    for_all: float | None, on_range: float | None, relies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def best(_: Search, here: Site, allowed: float, limit: float) -> Way | None:
        seconds = on_range if here.intervals else for_all
        rules = (rule_named("hard swish by ReLU6"),)
        return None if seconds is None or seconds > limit else Way(seconds, (), "y", {}, rules)

    monkeypatch.setattr(Search, "_best", best)
    layer, shapes, seen = step_of("hardswish"), {"x": (2, 3)}, {"x": (-1.0, 1.0)}
    way, ranges = Search(by_work).choose(site(layer, shapes), site(layer, shapes, intervals=seen))
    assert way is not None
    assert (way.seconds, ranges) == ((on_range, seen) if relies else (for_all, {}))


def test_what_an_operator_gives_for_any_input_is_no_range_of_calibration() -> None:
    class Gated(nn.Module):
        """The product's second factor lies in [0, 1] whatever x is, and its first is what calibration saw."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(torch.sigmoid(x) + 1) + torch.exp(x)

    graph = from_torch(Gated().eval(), (X,))
    device = allowing("conv", "depthwise_conv", "grouped_conv", "relu", "add", "reshape", "sigmoid")
    found = rewrite(graph, device, max_error=1e-2, intervals=intervals_on(graph, [(X,)]))
    ranges = {each.operator: each.ranges for each in found.replaced}
    assert ranges["sqrt"] == {}
    assert list(ranges["exp"].values()) == [intervals_on(graph, [(X,)])["x"]]
    assert [each.operator for each in found.ranged] == ["exp"]
    without = rewrite(graph, device, max_error=1e-2)
    assert {each.operator for each in without.unsupported} == {"exp"}
    assert without.ranged == ()


def test_softmax_needs_no_calibration() -> None:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    graph = from_torch(nn.Softmax(1).eval(), (x,))
    names = (
        "conv",
        "depthwise_conv",
        "grouped_conv",
        "relu",
        "concat",
        "reshape",
        "add",
        "slice",
        "reduce_max",
    )
    found = rewrite(graph, allowing(*names), max_error=2e-2)
    assert found.unsupported == found.ranged == ()
    for scale in (1, 30):
        off = (in_float64(found.graph, scale * x) - in_float64(graph, scale * x)).abs().max()
        assert off < 0.1  # the sum of its parts
