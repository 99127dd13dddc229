"""Approximated rules err by at most what they tell, in float64; and that is at most what is allowed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sparsegen.devices import Estimate, Operator
from sparsegen.graph import Identity, Layer, LayerGraph, Step
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.fits import relu_sum
from sparsegen.rewriting.rule import RefusalError
from sparsegen.rewriting.rules.native import GELU_SIGMOID_ERROR, GELU_SIGMOID_SCALE
from sparsegen.rewriting.search import Search
from sparsegen.rewriting.site import Interval, Site
from tests.rewriting.rewritings import allowing, as_it_is, drafted, in_float64, rule_named, site
from tests.rewriting.test_pointwise_rules import operators

ROUNDING = 2e-6  # weights are float32
CONVOLUTIONS = ("conv", "depthwise_conv", "grouped_conv", "relu", "concat", "reshape", "add", "slice")
LINE = (-40.0, 40.0)

CURVES: list[tuple[Step, Interval]] = [
    (Step("sigmoid"), LINE),
    (Step("tanh"), LINE),
    (Step("gelu"), LINE),
    (Step("silu"), LINE),
    (Step("mish"), LINE),
    (Step("hardswish"), LINE),
    (Step("softplus", parameters=(1.0, 20.0)), LINE),
    (Step("softplus", parameters=(2.0, 20.0)), LINE),
    (Step("elu", parameters=(1.0, 1.0, 1.0)), LINE),
    (Step("log_sigmoid"), LINE),
    (Step("exp"), (-5.0, 1.0)),
    (Step("log"), (0.2, 4.0)),
    (Step("sqrt"), (0.0, 9.0)),
    (Step("square"), (-3.0, 2.0)),
    (Step("pow", parameters=(3.0,)), (-1.0, 2.0)),
    (Step("pow", parameters=(-0.5,)), (0.25, 9.0)),
    (Step("sin"), (-4.0, 4.0)),
    (Step("div", 1.0, reverse=True), (0.5, 8.0)),
    (Step("div", -3.0, reverse=True), (1.0, 8.0)),
]


def curve_site(step: Step, interval: Interval | None, shape: tuple[int, ...] = (1, 2, 4, 5)) -> Site:
    intervals = {} if interval is None else {"x": interval}
    return site(Layer("y", Identity(), ("x",), shape, (step,)), {"x": shape}, intervals=intervals)


def dense(interval: Interval, shape: tuple[int, ...]) -> torch.Tensor:
    """Points of an interval in any shape, and copies of its ends."""
    count = math.prod(shape)
    return torch.linspace(*interval, count, dtype=torch.float64).reshape(shape)


def told(rule: str, here: Site, max_error: float) -> float:
    draft = Draft(here, max_error)
    rule_named(rule).rewrite(here, draft)
    (only,) = draft.approximations
    assert only.shown
    assert only.error <= max_error
    return only.error


@pytest.mark.parametrize("rule", ["ReLUs of every channel", "ReLUs of one channel"])
@pytest.mark.parametrize(("step", "interval"), CURVES, ids=lambda each: getattr(each, "op", ""))
def test_a_function_errs_by_no_more_than_it_tells(rule: str, step: Step, interval: Interval) -> None:
    here = curve_site(step, interval, (1, 4, 50, 101))
    x = dense(interval, here.shape)
    found, expected = in_float64(drafted(rule, here, 0.02), x), in_float64(as_it_is(here), x)
    error = told(rule, here, 0.02)
    assert (found - expected).abs().max() <= error + ROUNDING
    assert (found - expected).abs().max() >= error / 2  # it is not told far too large


@pytest.mark.parametrize("shape", [(), (7,), (2, 6), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 2, 2)])
def test_a_function_is_two_convolutions_with_a_relu_between(shape: tuple[int, ...]) -> None:
    here = curve_site(Step("tanh"), None, shape)
    x = dense((-4.0, 4.0), shape)
    for rule, names in (
        ("ReLUs of every channel", {"conv", "depthwise_conv", "grouped_conv"}),
        ("ReLUs of one channel", {"conv"}),
    ):
        graph = drafted(rule, here, 1e-2)
        assert (in_float64(graph, x) - x.tanh()).abs().max() <= told(rule, here, 1e-2) + ROUNDING
        found = operators(graph).split()
        assert [name for name in found if name != "reshape"][1] == "relu"
        assert set(found) <= names | {"relu", "reshape"}


def test_far_out_the_sum_has_the_slope_of_the_asymptote() -> None:
    for step in (
        Step("sigmoid"),
        Step("silu"),
        Step("log_sigmoid"),
        Step("softplus", parameters=(1.0, 20.0)),
    ):
        here = curve_site(step, None, (2,))
        x = torch.tensor([-1e5, 1e5], dtype=torch.float64)
        found = in_float64(drafted("ReLUs of one channel", here, 1e-2), x)
        torch.testing.assert_close(found, in_float64(as_it_is(here), x), rtol=0, atol=1e-2 + ROUNDING)


def test_less_error_takes_more_relus() -> None:
    counts = []
    for error in (1e-1, 1e-2, 1e-3):
        draft = Draft(curve_site(Step("silu"), None), error)
        rule_named("ReLUs of one channel").rewrite(curve_site(Step("silu"), None), draft)
        counts.append(len(draft.approximations[0].knots))
        assert draft.approximations[0].form == f"{counts[-1]} ReLUs"
    assert counts == sorted(counts)
    assert counts[2] < 4 * counts[1]  # the error falls as the square of the number


@pytest.mark.parametrize(
    ("step", "interval", "reason"),
    [
        (Step("exp"), None, "exp has no asymptotes, and no calibration tells what its values are"),
        (Step("sqrt"), (-1.0, 2.0), "square roots of numbers down to -1 are not real"),
        (Step("log"), (-1.0, 2.0), "no sum of ReLUs is found"),
        (
            Step("div", 1.0, reverse=True),
            (-1.0, 2.0),
            "it is infinite at 0, and its values lie on both sides",
        ),
        (Step("exp"), (0.0, 30.0), "and may take 400"),
        (Step("floor"), (0.0, 2.0), "it jumps, and sums of ReLUs are continuous"),
        (Step("hardshrink", parameters=(0.5,)), (0.0, 2.0), "it jumps, and sums of ReLUs are continuous"),
        (Step("threshold", parameters=(0.5, 3.0)), (0.0, 2.0), "no sum of ReLUs is found"),
        (Step("div", 2.0), (0.0, 2.0), "it is no function of one value alone"),
    ],
)
def test_a_function_without_a_sum_of_relus_is_refused(
    step: Step, interval: Interval | None, reason: str
) -> None:
    for rule in ("ReLUs of every channel", "ReLUs of one channel"):
        with pytest.raises(RefusalError) as refused:
            drafted(rule, curve_site(step, interval), 1e-2)
        assert reason in str(refused.value)


def test_a_sum_of_relus_may_be_scaled_and_tilted() -> None:
    class Tent:
        knots, values, slopes = (-1.0, 0.0, 2.0), (0.5, 1.5, -0.5), (0.25, 1.0, -1.0, 0.0)

    inner, offsets, outer, constant = relu_sum(Tent(), 3.0, 0.5)
    x = np.array([-3.0, -1.0, -0.5, 0.0, 1.0, 2.0, 5.0])
    found = constant + np.maximum(inner * x[:, None] + offsets, 0) @ outer
    plain = np.array([0.0, 0.5, 1.0, 1.5, 0.5, -0.5, -0.5])
    np.testing.assert_allclose(found, 3 * plain + 0.5 * x, atol=1e-6)


X = torch.linspace(-12, 12, 240_001, dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "op", "structure"),
    [
        ("GELU by sigmoid, approximately", "gelu", "mul sigmoid mul"),
        ("GELU by sigmoid, approximately", "gelu_tanh", "mul sigmoid mul"),
        ("GELU by its tanh form", "gelu", "gelu_tanh"),
        ("GELU's tanh form by GELU", "gelu_tanh", "gelu"),
        ("erf by tanh", "erf", "square mul add mul tanh"),
    ],
)
def test_functions_by_others_err_by_what_they_tell(rule: str, op: str, structure: str) -> None:
    here = curve_site(Step(op), None, tuple(X.shape))
    error = told(rule, here, 0.02)
    found = (in_float64(drafted(rule, here, 0.02), X) - in_float64(as_it_is(here), X)).abs().max()
    assert 0.95 * error < found <= error
    assert operators(drafted(rule, here, 0.02)) == structure
    draft = Draft(here, 0.02)
    rule_named(rule).rewrite(here, draft)
    (drawn,) = [each.curve for each in draft.approximations if each.curve is not None]
    torch.testing.assert_close(drawn(X), in_float64(drafted(rule, here, 0.02), X), rtol=1e-6, atol=1e-6)
    with pytest.raises(RefusalError, match="is allowed"):
        drafted(rule, here, 0.9 * error)


def test_the_factor_of_gelus_sigmoid_is_the_best_of_three_digits() -> None:
    errors = {}
    for factor in (1.702, *(GELU_SIGMOID_SCALE + step / 1000 for step in range(-20, 21))):
        errors[factor] = float((X * torch.sigmoid(factor * X) - F.gelu(X)).abs().max())
    assert min(errors, key=lambda factor: errors[factor]) == GELU_SIGMOID_SCALE
    assert errors[GELU_SIGMOID_SCALE] == pytest.approx(GELU_SIGMOID_ERROR, abs=1e-6)
    assert errors[1.702] == pytest.approx(0.0203, abs=1e-4)


def product_site(
    shape: tuple[int, ...], other: tuple[int, ...], first: Interval, second: Interval
) -> tuple[Site, torch.Tensor, torch.Tensor]:
    layer = Layer("y", Identity(), ("x",), np.broadcast_shapes(shape, other), (Step("mul", "other"),))
    here = site(layer, {"x": shape, "other": other}, intervals={"x": first, "other": second})
    random = torch.Generator().manual_seed(3)
    x, y = (
        low + (high - low) * torch.rand(each, generator=random, dtype=torch.float64)
        for each, (low, high) in ((shape, first), (other, second))
    )
    return here, x, y


@pytest.mark.parametrize("rule", ["product by sums of ReLUs", "product by sawtooth"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((-3.0, 5.0), (0.0, 1.0)),
        ((-10.0, 10.0), (-10.0, 10.0)),
        ((2.0, 4.0), (2.0, 2.0)),
        ((0.0, 0.1), (-0.1, 0.0)),
    ],
)
@pytest.mark.parametrize("max_error", [1e-1, 1e-2, 1e-3])
def test_a_product_errs_by_no_more_than_it_tells(
    rule: str, first: Interval, second: Interval, max_error: float
) -> None:
    here, x, y = product_site((1, 20, 500), (1, 20, 500), first, second)
    found = in_float64(drafted(rule, here, max_error), x, y)
    error = told(rule, here, max_error)
    assert (found - x * y).abs().max() <= error + 10 * ROUNDING
    ends = torch.tensor([*first, *first]), torch.tensor([*second, *second[::-1]])
    here, *_ = product_site((4,), (4,), first, second)
    corners = in_float64(drafted(rule, here, max_error), *ends)
    assert (corners - ends[0].double() * ends[1].double()).abs().max() <= error + 10 * ROUNDING


@pytest.mark.parametrize("rule", ["product by sums of ReLUs", "product by sawtooth"])
@pytest.mark.parametrize(
    ("shape", "other"),
    [((2, 3, 4, 5), (2, 3, 1, 1)), ((3, 1, 1), (2, 3, 4, 5)), ((3, 1), (2, 1, 4)), ((6,), (6,))],
)
def test_a_product_broadcasts(rule: str, shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    here, x, y = product_site(shape, other, (-2.0, 3.0), (0.0, 1.0))
    graph = drafted(rule, here, 1e-2)
    assert (in_float64(graph, x, y) - x * y).abs().max() <= 1e-2
    assert set(operators(graph).split()) <= {"conv", "relu", "concat", "reshape", "add", "sub"}


@pytest.mark.parametrize(
    ("max_error", "form"), [(2.0, "2 squares of 7 ReLUs"), (1e-3, "2 sawtooths of 8 layers")]
)
def test_the_search_takes_the_cheaper_form_of_a_product(max_error: float, form: str) -> None:
    here, *_ = product_site((200, 300), (200, 300), (-10.0, 10.0), (-10.0, 10.0))

    def price(operator: Operator) -> Estimate:
        by_work = 1e-6 + 1e-9 * (operator.multiply_adds + operator.written)
        return replace(allowing(*CONVOLUTIONS)(operator), seconds=by_work)

    way = Search(price, max_error).best(here)
    assert way is not None
    assert [each.form for each in way.approximations] == [form]


def test_a_product_without_calibration_is_refused() -> None:
    layer = Layer("y", Identity(), ("x",), (2, 3), (Step("mul", "other"),))
    for rule in ("product by sums of ReLUs", "product by sawtooth"):
        with pytest.raises(RefusalError, match="no calibration tells what both its values are"):
            drafted(rule, site(layer, {"x": (2, 3), "other": (2, 3)}), 1e-2)
        with pytest.raises(RefusalError, match="one of its operands is constant"):
            drafted(rule, curve_site(Step("mul", 2.0), None), 1e-2)


def test_too_small_an_error_of_a_product_is_refused() -> None:
    here, *_ = product_site((2,), (2,), (-1e3, 1e3), (-1e3, 1e3))
    with pytest.raises(RefusalError, match="2 squares of"):
        drafted("product by sums of ReLUs", here, 1e-3)
    with pytest.raises(RefusalError, match="layers of teeth"):
        drafted("product by sawtooth", here, 1e-6)


def test_errors_of_a_ways_parts_add_up_to_no_more_than_is_allowed() -> None:
    """A quotient: a reciprocal's error is multiplied by up to 6, and the product errs, too."""
    layer = Layer("y", Identity(), ("x",), (1, 1, 40, 50), (Step("div", "other"),))
    shapes = {"x": layer.shape, "other": layer.shape}
    here = site(layer, shapes, intervals={"x": (-6.0, 6.0), "other": (0.5, 4.0)})
    way = Search(allowing(*CONVOLUTIONS), 1e-2).best(here)
    assert way is not None
    assert len(way.approximations) == 2
    graph = LayerGraph(dict(shapes), list(way.layers), (way.result,), dict(way.constants))
    x, y = dense((-6.0, 6.0), layer.shape), dense((0.5, 4.0), layer.shape).flip(-1)
    found = (in_float64(graph, x, y) - x / y).abs().max()
    assert found <= way.error + ROUNDING
    assert way.error <= 1e-2


def test_errors_that_cannot_be_added_up_are_not_allowed() -> None:
    """X * sigmoid(x), the sigmoid approximated: x may be anything."""
    tried = Search(allowing(*CONVOLUTIONS, "mul"), 1e-2).tried(curve_site(Step("silu"), None))
    (reason,) = [each.reason for each in tried if each.rule == "SiLU by sigmoid"]
    assert reason == "how errors of its parts add up is not known: no calibration tells its values"
