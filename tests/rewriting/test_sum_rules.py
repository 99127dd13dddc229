"""Reductions, norms, matrix products, pointwise work on fewer dimensions: operators, numbers, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sparsegen.graph import (
    Array,
    Core,
    GroupNorm,
    Identity,
    Layer,
    LayerNorm,
    LocalResponseNorm,
    MatMul,
    Mean,
    Reduce,
    Shape,
    Step,
)
from sparsegen.rewriting.rule import RefusalError
from sparsegen.rewriting.site import Site
from tests.rewriting.exact import names, rewritten
from tests.rewriting.rewritings import drafted, site

IMAGE = (2, 4, 5, 6)
SUMS = "matrix product by products and sums"
FEWER = "fewer dimensions by reshape"


def reduced(core: Mean | Reduce, source: Shape = IMAGE) -> Site:
    kept = tuple(1 if dim in core.dims else extent for dim, extent in enumerate(source))
    if not core.keepdim:
        kept = tuple(extent for dim, extent in enumerate(source) if dim not in core.dims)
    return site(Layer("y", core, ("x",), kept), {"x": source})


def product(
    first: Shape, second: Shape, turn_a: bool = False, turn_b: bool = False, constant: str = ""
) -> Site:
    a, b = (first[::-1][:2] if turn_a else first[-2:]), (second[::-1][:2] if turn_b else second[-2:])
    shape = (*np.broadcast_shapes(first[:-2], second[:-2]), a[0], b[1])
    shapes, constants = {"a": first, "b": second}, dict[str, Array]()
    if constant:
        constants[constant] = np.random.default_rng(0).standard_normal(shapes.pop(constant))  # type: ignore[assignment]
    return site(Layer("y", MatMul(turn_a, turn_b), ("a", "b"), shape), shapes, constants)


def alone(core: Core, shape: Shape = IMAGE) -> Site:
    return site(Layer("y", core, ("x",), shape), {"x": shape})


def pointwise(step: Step, shape: Shape, constants: dict[str, Array] | None = None, **others: Shape) -> Site:
    return site(Layer("y", Identity(), ("x",), shape, (step,)), {"x": shape, **others}, constants)


@pytest.mark.parametrize("keepdim", [True, False])
def test_means_and_sums_over_all_dimensions(keepdim: bool) -> None:
    for count in (1, 2, 3, 4):
        for dims in itertools.combinations(range(4), count):
            for core in (Mean(dims, keepdim), Reduce("sum", dims, keepdim), Reduce("max", dims, keepdim)):
                here = reduced(core)
                neighbours = dims[-1] - dims[0] == count - 1
                one = {"mean": "mean by convolution", "reduce_sum": "sum by convolution"}
                rule = one.get(here.name, "greatest element by max pooling")
                if neighbours:
                    rewritten(rule, here)
                else:
                    with pytest.raises(RefusalError, match="its dimensions are not neighbours"):
                        drafted(rule, here)
                    rewritten("reduction one dimension after the other", here)


@pytest.mark.parametrize(
    ("rule", "here", "operators"),
    [
        ("mean over images by average pooling", reduced(Mean((2, 3), True)), ["avg_pool"]),
        ("mean over images by average pooling", reduced(Mean((3, 2), False)), ["avg_pool", "reshape"]),
        ("mean by convolution", reduced(Mean((1,), True)), ["conv"]),
        (
            "mean by convolution",
            reduced(Mean((2, 3), False)),
            ["reshape", "reshape", "conv", "reshape", "reshape"],
        ),
        ("sum by mean", reduced(Reduce("sum", (1, 3), True)), ["mean", "mul"]),
        ("mean by sum", reduced(Mean((1, 3), True)), ["reduce_sum", "mul"]),
        (
            "greatest element by max pooling",
            reduced(Reduce("max", (3,), False)),
            ["reshape", "max_pool", "reshape"],
        ),
        ("least element by the greatest", reduced(Reduce("min", (0, 2), True)), ["neg", "reduce_max", "neg"]),
        ("sum of squares by sum", reduced(Reduce("squares", (1,), True)), ["square", "reduce_sum"]),
        ("sum of magnitudes by sum", reduced(Reduce("magnitudes", (1,), False)), ["abs", "reduce_sum"]),
        (
            "sum of deviations by sum of squares",
            reduced(Reduce("deviations", (1, 2), False)),
            ["mean", "sub", "square", "reduce_sum"],
        ),
        ("reduction one dimension after the other", reduced(Mean((0, 2, 3), True)), ["mean", "mean"]),
        (
            "layer norm by means",
            alone(LayerNorm((2, 3), 1e-5)),
            ["mean", "sub", "square", "mean", "add", "rsqrt", "mul"],
        ),
        (
            "layer norm by means",
            alone(LayerNorm((3,), 1e-5, centred=False)),
            ["square", "mean", "add", "rsqrt", "mul"],
        ),
        ("group norm by layer norm", alone(GroupNorm(2, 1e-5)), ["reshape", "layer_norm", "reshape"]),
        (
            "local response norm by convolution",
            alone(LocalResponseNorm(3, 0.1, 0.75, 2.0)),
            ["square", "conv", "pow", "mul"],
        ),
        ("product by a constant matrix by linear", product((2, 3, 4), (4, 5), constant="b"), ["linear"]),
        (
            "product by a constant matrix by linear",
            product((3, 4), (5, 4), turn_b=True, constant="b"),
            ["linear"],
        ),
        (
            "product of a constant matrix by convolution",
            product((3, 4), (2, 4, 5), constant="a"),
            ["reshape", "conv", "reshape"],
        ),
        (
            "matrix products one by one",
            product((1, 2, 3, 4), (1, 2, 4, 5)),
            [
                *["reshape"] * 2,
                *["slice", "reshape", "slice", "reshape", "matmul", "reshape"] * 2,
                "concat",
                "reshape",
            ],
        ),
        (SUMS, product((3, 4), (4, 5)), ["reshape", "reshape", "mul", "reduce_sum"]),
        (FEWER, pointwise(Step("gelu"), IMAGE), ["reshape", "gelu", "reshape"]),
        (FEWER, pointwise(Step("sub", 2.0, reverse=True), IMAGE), ["reshape", "sub", "reshape"]),
        (
            FEWER,
            pointwise(Step("mul", "gate"), IMAGE, gate=(2, 4, 1, 1)),
            ["reshape", "reshape", "mul", "reshape"],
        ),
        (
            FEWER,
            pointwise(Step("prelu", "slope"), IMAGE, {"slope": np.linspace(0, 1, 4).reshape(4, 1, 1)}),
            ["reshape", "prelu", "reshape"],
        ),
    ],
)
def test_the_operators_that_a_rule_makes(rule: str, here: Site, operators: list[str]) -> None:
    found = names(rewritten(rule, here))
    assert found == operators


@pytest.mark.parametrize("rule", [SUMS, "matrix products one by one"])
@pytest.mark.parametrize("turn_a", [False, True])
@pytest.mark.parametrize("turn_b", [False, True])
def test_matrix_products_of_all_sides(rule: str, turn_a: bool, turn_b: bool) -> None:
    a, b = ((4, 3) if turn_a else (3, 4)), ((5, 4) if turn_b else (4, 5))
    rewritten(rule, product((2, 3, *a), (2, 3, *b), turn_a, turn_b))
    if rule == SUMS:
        rewritten(rule, product((2, 1, *a), (3, *b), turn_a, turn_b))


@pytest.mark.parametrize(
    ("rule", "here", "reason"),
    [
        (
            "mean over images by average pooling",
            reduced(Mean((1,), True)),
            "it is not over images' height and width",
        ),
        (
            "reduction one dimension after the other",
            reduced(Mean((2, 3), True)),
            "its dimensions are neighbours",
        ),
        (
            "product by a constant matrix by linear",
            product((3, 4), (4, 5)),
            "its second factor is no constant, or both are",
        ),
        (
            "product by a constant matrix by linear",
            product((2, 3, 4), (2, 4, 5), constant="b"),
            "its constant has several matrices",
        ),
        (
            "product of a constant matrix by convolution",
            product((3, 4), (4, 5)),
            "its first factor is no constant, or both are",
        ),
        ("matrix products one by one", product((3, 4), (4, 5)), "it is one product"),
        (
            "matrix products one by one",
            product((129, 3, 4), (129, 4, 5)),
            "it would take 129 products, and 128 are the most",
        ),
        ("matrix products one by one", product((2, 3, 4), (4, 5)), "its batches are not of one shape"),
        (
            SUMS,
            product((256, 256), (256, 256)),
            "it would take 16,777,216 products, and 4,194,304 are the most",
        ),
        (FEWER, pointwise(Step("gelu"), (1, 4, 5, 6)), "it has one image, or no more than three dimensions"),
        (
            FEWER,
            pointwise(Step("mul", "gate"), IMAGE, gate=(1, 4, 5, 6)),
            "a value of shape (1, 4, 5, 6) is broadcast to (2, 4, 5, 6)",
        ),
    ],
)
def test_why_a_rule_refuses(rule: str, here: Site, reason: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        drafted(rule, here)
    assert str(refusal.value) == reason
