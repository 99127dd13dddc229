"""Rules on steps: which operators come out, that they compute the same, and why a rule refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsegen.devices.operators import describe
from sparsegen.graph import BINARY, SELECTIONS, UNARY, Identity, Layer, LayerGraph, Step
from sparsegen.rewriting.rule import RefusalError, all_rules
from sparsegen.rewriting.site import Site
from tests.rewriting.rewritings import as_it_is, drafted, drawn, in_float64, site

SHAPES = ((5,), (2, 6), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 2, 2))
POSITIVE = (0.05, 9.0)

EXACT: list[tuple[str, Step, str]] = [
    ("hard swish by ReLU6", Step("hardswish"), "add relu6 mul mul"),
    ("hard swish by hard sigmoid", Step("hardswish"), "hardsigmoid mul"),
    ("hard sigmoid by ReLU6", Step("hardsigmoid"), "add relu6 mul"),
    ("ReLU6 by ReLUs", Step("relu6"), "relu sub relu sub"),
    ("ReLU6 by clamp", Step("relu6"), "clamp"),
    ("ReLU by clamp", Step("relu"), "clamp"),
    ("ReLU by maximum", Step("relu"), "maximum"),
    ("clamp by ReLUs", Step("clamp", parameters=(-1.0, 2.5)), "sub relu sub relu sub"),
    ("clamp by ReLUs", Step("clamp", parameters=(0.0, math.inf)), "relu"),
    ("clamp by ReLUs", Step("clamp", parameters=(-1.0, math.inf)), "sub relu add"),
    ("clamp by ReLUs", Step("clamp", parameters=(-math.inf, 1.0)), "sub relu sub"),
    ("clamp by ReLU6", Step("clamp", parameters=(-1.0, 2.0)), "sub mul relu6 mul add"),
    ("clamp by ReLU6", Step("clamp", parameters=(0.0, 6.0)), "relu6"),
    ("clamp by maximum and minimum", Step("clamp", parameters=(-1.0, 2.0)), "maximum minimum"),
    ("clamp by maximum and minimum", Step("clamp", parameters=(2.0, -1.0)), "maximum minimum"),
    ("clamp by maximum and minimum", Step("clamp", parameters=(-math.inf, 1.0)), "minimum"),
    ("leaky ReLU by ReLUs", Step("leaky_relu", parameters=(0.1,)), "neg relu relu mul sub"),
    ("leaky ReLU by PReLU", Step("leaky_relu", parameters=(0.1,)), "prelu"),
    ("leaky ReLU by maximum", Step("leaky_relu", parameters=(0.1,)), "mul maximum"),
    ("PReLU by ReLUs", Step("prelu", 0.2), "neg relu mul relu sub"),
    ("ELU by exp", Step("elu", parameters=(0.7, 1.0, 1.0)), "neg relu mul exp sub relu mul add"),
    ("ELU by exp", Step("elu", parameters=(1.7, 1.1, 0.5)), "neg relu mul exp sub relu mul add mul"),
    ("soft shrink by ReLUs", Step("softshrink", parameters=(0.5,)), "sub relu sub relu sub"),
    ("hard shrink by soft shrink and sign", Step("hardshrink", parameters=(0.5,)), "softshrink sign mul add"),
    ("hard shrink by soft shrink and sign", Step("hardshrink", parameters=(0.0,)), ""),
    ("threshold by ReLU", Step("threshold", parameters=(0.5, 0.5)), "sub relu add"),
    ("threshold by ReLU", Step("threshold", parameters=(0.0, 0.0)), "relu"),
    ("threshold by ReLU and sign", Step("threshold", parameters=(0.5, -2.0)), "sub relu sign mul add add"),
    ("absolute value by ReLUs", Step("abs"), "neg relu relu add"),
    ("absolute value by maximum", Step("abs"), "neg maximum"),
    ("maximum by ReLU", Step("maximum", 1.5), "sub relu add"),
    ("maximum by ReLU", Step("maximum", 0.0), "relu"),
    ("minimum by ReLU", Step("minimum", 1.5), "sub relu sub"),
    ("maximum by minimum", Step("maximum", 1.5), "neg minimum neg"),
    ("minimum by maximum", Step("minimum", 1.5), "neg maximum neg"),
    ("extreme of a number by clamp", Step("maximum", 1.5), "clamp"),
    ("extreme of a number by clamp", Step("minimum", 1.5), "clamp"),
    ("negative by product", Step("neg"), "mul"),
    ("negative by difference", Step("neg"), "sub"),
    ("product with -1 by negative", Step("mul", -1.0), "neg"),
    ("difference by sum", Step("sub", 2.0), "add"),
    ("difference by sum", Step("sub", 2.0, reverse=True), "neg add"),
    ("sum by difference", Step("add", 2.0), "sub"),
    ("square by product", Step("square"), "mul"),
    ("square by power", Step("square"), "pow"),
    ("cube by products", Step("cube"), "square mul"),
    ("power by products", Step("pow", parameters=(1.0,)), ""),
    ("power by products", Step("pow", parameters=(4.0,)), "square square"),
    ("power by products", Step("pow", parameters=(11.0,)), "square mul square square mul"),
    ("power by square root", Step("pow", parameters=(0.5,)), "sqrt"),
    ("power by square root", Step("pow", parameters=(1.5,)), "sqrt mul"),
    ("power by reciprocal", Step("pow", parameters=(-1.0,)), "div"),
    ("power by reciprocal", Step("pow", parameters=(-2.5,)), "pow div"),
    ("power by exp and log", Step("pow", parameters=(0.3,)), "log mul exp"),
    ("square root by power", Step("sqrt"), "pow"),
    ("quotient by product", Step("div", 4.0), "mul"),
    ("quotient by reciprocal", Step("div", 3.0, reverse=True), "div mul"),
    ("reciprocal by power", Step("div", 1.0, reverse=True), "pow"),
    ("reciprocal by exp and log", Step("div", 1.0, reverse=True), "log neg exp"),
    ("log2 by log", Step("log2"), "log mul"),
    ("log10 by log", Step("log10"), "log mul"),
    ("log1p by log", Step("log1p"), "add log"),
    ("log by log2", Step("log"), "log2 mul"),
    ("expm1 by exp", Step("expm1"), "exp sub"),
    ("exp by expm1", Step("exp"), "expm1 add"),
    ("sine by cosine", Step("sin"), "sub cos"),
    ("cosine by sine", Step("cos"), "add sin"),
    ("floor by ceil", Step("floor"), "neg ceil neg"),
    ("ceil by floor", Step("ceil"), "neg floor neg"),
    ("trunc by floor", Step("trunc"), "relu floor neg relu floor sub"),
    ("SiLU by sigmoid", Step("silu"), "sigmoid mul"),
    ("sigmoid by tanh", Step("sigmoid"), "mul tanh mul add"),
    ("sigmoid by exp", Step("sigmoid"), "neg exp add div"),
    ("tanh by sigmoid", Step("tanh"), "mul sigmoid mul sub"),
    ("GELU by erf", Step("gelu"), "mul erf mul add mul"),
    ("GELU's tanh form by tanh", Step("gelu_tanh"), "square mul add mul tanh mul add mul"),
    ("GELU's tanh form by sigmoid", Step("gelu_tanh"), "square mul add mul mul sigmoid mul"),
    ("Mish by tanh and softplus", Step("mish"), "softplus tanh mul"),
    ("softplus by exp and log", Step("softplus", parameters=(1.0, 20.0)), "abs mul exp add log relu add"),
    ("softplus by exp and log", Step("softplus", parameters=(2.0, 20.0)), "abs mul exp add log mul relu add"),
    ("softplus by log sigmoid", Step("softplus", parameters=(2.0, 20.0)), "mul log_sigmoid mul"),
    ("log sigmoid by softplus", Step("log_sigmoid"), "neg softplus neg"),
    ("softsign by absolute value", Step("softsign"), "abs add div"),
]  # fmt: skip

BETWEEN: list[tuple[str, Step, str]] = [
    ("PReLU by ReLUs", Step("prelu", "other"), "neg relu mul relu sub"),
    ("maximum by ReLU", Step("maximum", "other"), "sub relu add"),
    ("minimum by ReLU", Step("minimum", "other"), "sub relu sub"),
    ("maximum by minimum", Step("maximum", "other"), "neg neg minimum neg"),
    ("minimum by maximum", Step("minimum", "other"), "neg neg maximum neg"),
    ("difference by sum", Step("sub", "other"), "neg add"),
    ("difference by sum", Step("sub", "other", reverse=True), "neg add"),
    ("sum by difference", Step("add", "other"), "neg sub"),
    ("quotient by reciprocal", Step("div", "other"), "div mul"),
    ("quotient by reciprocal", Step("div", "other", reverse=True), "div mul"),
]
"""Of a value and another value, or a constant."""

REFUSED: list[tuple[str, Step, str]] = [
    ("clamp by ReLUs", Step("clamp", parameters=(2.0, 1.0)), "its lower bound, 2, is above its upper one, 1"),
    ("clamp by ReLU6", Step("clamp", parameters=(0.0, math.inf)), "it has to be bounded on both sides"),
    ("leaky ReLU by maximum", Step("leaky_relu", parameters=(1.5,)), "its slope is 1.5"),
    ("threshold by ReLU", Step("threshold", parameters=(1.0, 0.0)), "it jumps at 1, from 0"),
    ("extreme of a number by clamp", Step("maximum", "other"), "its bound is no number"),
    ("maximum by ReLU", Step("maximum", -math.inf), "its bound is -inf"),
    ("product with -1 by negative", Step("mul", 2.0), "it is no product with -1"),
    ("power by products", Step("pow", parameters=(2.5,)), "its exponent is 2.5"),
    ("power by products", Step("pow", parameters=(0.0,)), "its exponent is 0"),
    ("power by square root", Step("pow", parameters=(2.0,)), "has to be 0.5 or 1.5"),
    ("power by reciprocal", Step("pow", parameters=(2.0,)), "has to be negative"),
    ("power by exp and log", Step("pow", parameters=(0.3,)), "no calibration tells what they are"),
    ("quotient by product", Step("div", "other"), "it divides by a value"),
    ("quotient by product", Step("div", 2.0, reverse=True), "it divides by a value"),
    ("quotient by product", Step("div", 0.0), "it divides by 0"),
    ("quotient by reciprocal", Step("div", 1.0, reverse=True), "it is a reciprocal itself"),
    ("quotient by reciprocal", Step("div", 2.0), "it divides by a constant"),
    ("reciprocal by power", Step("div", 2.0), "it is no reciprocal"),
    ("reciprocal by exp and log", Step("div", 1.0, reverse=True), "no calibration tells what they are"),
    ("select by product and sum", Step("select", "other", parameters=(0.0,)), "its mask is a value"),
    ("softplus by exp and log", Step("softplus", parameters=(1.0, 5.0)), "its threshold 5, where it jumps"),
    ("scale and shift by depthwise convolution", Step("mul", "other"), "both its operands are values"),
    ("scale and shift by depthwise convolution", Step("div", 2.0, reverse=True), "it divides by the value"),
    ("scale and shift by depthwise convolution", Step("div", 0.0), "it divides by 0"),
    ("scale and shift by depthwise convolution", Step("add", math.inf), "its constant is not finite"),
    ("sum of two values by convolution of one channel", Step("add", 2.0), "its operand is constant"),
]


def step_site(step: Step, shape: tuple[int, ...] = (2, 3), other: tuple[int, ...] = (2, 3)) -> Site:
    named = isinstance(step.operand, str)
    result = np.broadcast_shapes(shape, other) if named else shape
    inputs = {"x": shape} | ({"other": other} if named else {})
    return site(Layer("y", Identity(), ("x",), result, (step,)), inputs)


def operators(graph: LayerGraph) -> str:
    shapes = graph.shapes()
    names = [
        layer.epilogue[0].op if layer.epilogue else describe(layer, shapes, graph.constants).name
        for layer in graph.layers
    ]
    return " ".join(names)


def check_equal(rule: str, here: Site, *inputs: torch.Tensor, rtol: float = 1e-10) -> None:
    found, expected = in_float64(drafted(rule, here), *inputs), in_float64(as_it_is(here), *inputs)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-8 if rtol < 1e-8 else rtol)


def needs_positive(step: Step) -> bool:
    """Whether the function, or a rule for it, is of positive numbers alone."""
    whole = step.op == "pow" and step.parameters[0] in range(20)
    return (
        (step.op.startswith("log") and step.op != "log_sigmoid")
        or (step.op in ("sqrt", "pow") and not whole)
        or (step.op == "div" and step.operand != 4.0)
    )


@pytest.mark.parametrize(("rule", "step", "structure"), EXACT, ids=lambda each: getattr(each, "op", each))
def test_a_rule_gives_these_operators_which_compute_the_same(rule: str, step: Step, structure: str) -> None:
    for number, shape in enumerate(SHAPES):
        here = step_site(step, shape)
        if "exp and log" in rule and step.op != "softplus":
            here = site(here.layer, here.shapes, intervals={"x": POSITIVE})
        (x,) = drawn(here, number)
        check_equal(rule, here, x.abs() + 0.05 if needs_positive(step) else x)
        assert operators(drafted(rule, here)) == structure


@pytest.mark.parametrize(("rule", "step", "structure"), BETWEEN, ids=lambda each: getattr(each, "op", each))
@pytest.mark.parametrize(
    ("shape", "other"), [((2, 3, 4), (2, 3, 4)), ((2, 3, 4, 5), (3, 1, 1)), ((3, 1), (2, 1, 4))]
)
def test_a_rule_of_two_values_broadcasts_as_they_do(
    rule: str, step: Step, structure: str, shape: tuple[int, ...], other: tuple[int, ...]
) -> None:
    if step.op == "prelu" and np.broadcast_shapes(shape, other) != shape:
        other = (1, 1)
    here = step_site(step, shape, other)
    x, y = (each.abs() + 0.05 if step.op == "div" else each for each in drawn(here))
    check_equal(rule, here, x, y)
    assert operators(drafted(rule, here)) == structure
    constants = {"other": y.float().numpy()}
    if step.op == "div" and not step.reverse:
        return  # by a constant: another rule's
    check_equal(rule, site(here.layer, {"x": shape}, constants), x)


@pytest.mark.parametrize(("rule", "step", "reason"), REFUSED, ids=lambda each: getattr(each, "op", each))
def test_a_rule_refuses_with_a_reason(rule: str, step: Step, reason: str) -> None:
    with pytest.raises(RefusalError) as refused:
        drafted(rule, step_site(step))
    assert reason in str(refused.value)


def test_powers_of_negative_numbers_do_not_go_through_logarithms() -> None:
    here = site(step_site(Step("pow", parameters=(0.3,))).layer, {"x": (2, 3)}, intervals={"x": (-1.0, 2.0)})
    with pytest.raises(RefusalError, match="go down to -1"):
        drafted("power by exp and log", here)


def test_a_constant_divisor_becomes_a_factor() -> None:
    divisor = np.array([[2.0], [-0.3]], np.float32)
    here = site(Layer("y", Identity(), ("x",), (2, 3), (Step("div", "c"),)), {"x": (2, 3)}, {"c": divisor})
    check_equal("quotient by product", here, *drawn(here), rtol=1e-6)
    zero = site(here.layer, {"x": (2, 3)}, {"c": np.zeros((2, 1), np.float32)})
    with pytest.raises(RefusalError, match="divides by 0"):
        drafted("quotient by product", zero)


def test_a_selection_becomes_a_product_and_a_sum() -> None:
    mask = np.array([[1, 0, 3]], np.float32)
    for other, structure in ((0.0, "mul"), (-7.0, "mul add")):
        layer = Layer("y", Identity(), ("x",), (2, 3), (Step("select", "mask", parameters=(other,)),))
        here = site(layer, {"x": (2, 3)}, {"mask": mask})
        check_equal("select by product and sum", here, *drawn(here))
        assert operators(drafted("select by product and sum", here)) == structure
    layer = Layer("y", Identity(), ("x",), (2, 3), (Step("select", "mask", parameters=(-math.inf,)),))
    with pytest.raises(RefusalError, match="-inf stands in place of what is masked"):
        drafted("select by product and sum", site(layer, {"x": (2, 3)}, {"mask": mask}))


AFFINE: list[tuple[tuple[int, ...], tuple[int, ...], str]] = [
    ((2, 3, 4, 5), (3, 1, 1), "depthwise_conv"),
    ((2, 3, 4, 5), (1, 3, 1, 1), "depthwise_conv"),
    ((2, 3, 4, 5), (5,), "reshape depthwise_conv reshape"),
    ((2, 3, 4, 5), (3, 1, 5), "reshape depthwise_conv reshape"),
    ((2, 6), (6,), "reshape depthwise_conv reshape"),
    ((2, 3, 4), (3, 4), "reshape depthwise_conv reshape"),
    ((2, 3, 4), (2, 1, 1), "reshape depthwise_conv reshape"),
    ((5,), (5,), "reshape depthwise_conv reshape"),
    ((2, 3, 4, 5), (1, 1), "depthwise_conv"),
]


@pytest.mark.parametrize(("shape", "constant", "structure"), AFFINE)
@pytest.mark.parametrize(
    "step",
    [Step("add", "c"), Step("sub", "c"), Step("sub", "c", reverse=True), Step("mul", "c"), Step("div", "c")],
)
def test_constants_of_channels_become_depthwise_convolutions(
    step: Step, shape: tuple[int, ...], constant: tuple[int, ...], structure: str
) -> None:
    array = np.random.default_rng(0).uniform(0.5, 2, constant).astype(np.float32)
    layer = Layer("y", Identity(), ("x",), shape, (step,))
    here = site(layer, {"x": shape}, {"c": array})
    rule = "scale and shift by depthwise convolution"
    check_equal(rule, here, *drawn(here), rtol=1e-6)
    assert operators(drafted(rule, here)) == structure


@pytest.mark.parametrize("shape", [(), *SHAPES])
@pytest.mark.parametrize(
    "step", [Step("neg"), Step("mul", 0.5), Step("sub", 2.0, reverse=True), Step("div", 4.0)]
)
def test_numbers_become_convolutions(step: Step, shape: tuple[int, ...]) -> None:
    here = step_site(step, shape)
    for rule, conv in (("depthwise convolution", "depthwise_conv"), ("convolution of one channel", "conv")):
        graph = drafted(f"scale and shift by {rule}", here)
        check_equal(f"scale and shift by {rule}", here, *drawn(here))
        single = conv == "depthwise_conv" and (not shape or shape == SHAPES[-1])
        assert ("conv" if single else conv) in operators(graph).split()


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5)])
@pytest.mark.parametrize("outer", [0.0, 0.5])
def test_piecewise_linear_functions_become_relus(shape: tuple[int, ...], outer: float) -> None:
    here = step_site(Step("piecewise", parameters=(0.25, outer, -1.0, 1.0, 2.0, -1.5)), shape)
    for kind in ("every", "one"):
        rule = f"piecewise linear function by ReLUs of {kind} channel"
        check_equal(rule, here, *drawn(here), rtol=1e-6)
        graph = drafted(rule, here)
        assert [name for name in operators(graph).split() if name != "reshape"][1] == "relu"
        relus = next(layer for layer in graph.layers if layer.epilogue)
        assert np.prod(relus.shape) == (3 if outer else 2) * np.prod(shape)


@pytest.mark.parametrize(
    ("operand", "cut"), [((2, 5, 3, 4), True), ((5, 1, 1), True), ((1, 1, 3, 4), False), ((4,), False)]
)
def test_images_are_halved_with_what_meets_them(operand: tuple[int, ...], cut: bool) -> None:
    rule, shape = "pointwise by halves of channels", (2, 5, 3, 4)
    here = step_site(Step("mul", "other"), shape, operand)
    check_equal(rule, here, *drawn(here))
    assert operators(drafted(rule, here)).split().count("slice") == (4 if cut else 2)
    with pytest.raises(RefusalError, match="no image, or is broadcast"):
        drafted(rule, step_site(Step("mul", "other"), (1, 5, 3, 4), shape))


def test_a_constant_larger_than_its_value_is_no_scale() -> None:
    layer = Layer("y", Identity(), ("x",), (2, 3), (Step("mul", "c"),))
    here = site(layer, {"x": (1, 3)}, {"c": np.ones((2, 3), np.float32)})
    with pytest.raises(RefusalError, match="more elements than its value"):
        drafted("scale and shift by depthwise convolution", here)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "step", [Step("add", "other"), Step("sub", "other"), Step("sub", "other", reverse=True)]
)
def test_sums_of_values_become_convolutions_of_both(step: Step, shape: tuple[int, ...]) -> None:
    here = step_site(step, shape, shape)
    for rule in ("sum of two values by convolution of one channel", "sum of two images by convolution"):
        check_equal(rule, here, *drawn(here))
        assert "concat conv" in operators(drafted(rule, here))


def test_sums_that_broadcast_or_are_wide_are_not_concatenated() -> None:
    with pytest.raises(RefusalError, match=r"shapes \(2, 3\) and \(3,\)"):
        drafted(
            "sum of two values by convolution of one channel", step_site(Step("add", "other"), other=(3,))
        )
    wide = (1, 4096, 1, 1)
    with pytest.raises(RefusalError, match="4,096 channels would take"):
        drafted("sum of two images by convolution", step_site(Step("add", "other"), wide, wide))


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    case=st.sampled_from(EXACT),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_rules_hold_for_any_shape(shape: tuple[int, ...], case: tuple[str, Step, str], seed: int) -> None:
    rule, step, _ = case
    here = site(step_site(step, shape).layer, {"x": shape}, intervals={"x": POSITIVE})
    (x,) = drawn(here, seed)
    check_equal(rule, here, x.abs() + 0.05 if needs_positive(step) else x)


def test_rules_are_named_for_operators_that_there_are() -> None:
    steps = {*UNARY, *BINARY, *SELECTIONS}
    cores = {"softmax", "log_softmax", "reduce_sum", "lstm", "gru"}
    ours = [rule for rule in all_rules() if rule.rewrite.__module__.rpartition(".")[2] in OUR_FILES]
    assert len(ours) > 70
    assert {name for rule in ours for name in rule.operators} <= steps | cores


OUR_FILES = ("activations", "affine", "arithmetic", "extremes", "recurrent", "sigmoids", "softmax")
