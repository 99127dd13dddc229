"""Pooling by smaller pooling, slices, means and convolutions: operators, numbers, and why a rule refuses."""

from __future__ import annotations

import numpy as np
import pytest

from sparsegen.graph import AdaptivePool2d, Conv2d, Layer, Pool2d, Shape
from sparsegen.rewriting.rule import RefusalError
from sparsegen.rewriting.site import Site
from tests.rewriting.drawn_windows import drawn_pool, windows
from tests.rewriting.exact import names, rewritten
from tests.rewriting.rewritings import drafted, site

MAX = (
    "large max pooling by two smaller ones",
    "strided max pooling by slices",
    "padding of max pooling by its edges",
    "uneven padding by a larger max pooling",
    "max pooling by maxima of slices",
)
AVERAGE = ("average pooling by depthwise convolution", "large average pooling by two smaller ones")
ADAPTIVE = (
    "adaptive pooling by equal windows",
    "adaptive pooling window by window",
    "adaptive average by convolution along rows and columns",
)


def pool(core: Pool2d, source: Shape = (2, 3, 12, 15), ceil: bool = False) -> Site:
    counts = windows(core, core.kernel, (source[2], source[3]), ceil)
    return site(Layer("y", core, ("x",), (*source[:2], *counts)), {"x": source})


def adaptive(kind: str, output: tuple[int, int], source: Shape = (2, 3, 12, 15)) -> Site:
    core = AdaptivePool2d("max" if kind == "max" else "avg", output)
    return site(Layer("y", core, ("x",), (*source[:2], *output)), {"x": source})


@pytest.mark.parametrize("rule", [*MAX, AVERAGE[0], "images as channels"])
def test_drawn_pooling_is_computed_exactly(rule: str) -> None:
    served = 0
    for seed in range(120):
        here = drawn_pool(seed)
        if (here.name == "max_pool") != (rule in MAX) and rule != "images as channels":
            continue
        try:
            rewritten(rule, here, seed)
            served += 1
        except RefusalError:
            continue
    assert served >= 8


@pytest.mark.parametrize("output", [(1, 1), (3, 5), (5, 4), (12, 15), (7, 1)])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_adaptive_pooling_is_computed_exactly(kind: str, output: tuple[int, int]) -> None:
    here = adaptive(kind, output)
    rewritten(ADAPTIVE[1], here)
    if kind == "avg":
        rewritten(ADAPTIVE[2], here)
    if 12 % output[0] == 15 % output[1] == 0:
        assert names(rewritten(ADAPTIVE[0], here)) == [f"{kind}_pool"]
    else:
        with pytest.raises(RefusalError, match="its windows are not all of one size"):
            drafted(ADAPTIVE[0], here)


@pytest.mark.parametrize(
    ("rule", "here", "operators"),
    [
        (MAX[0], pool(Pool2d("max", (5, 5), (2, 2), (2, 2, 2, 2))), ["max_pool", "max_pool"]),
        (MAX[1], pool(Pool2d("max", (3, 3), (2, 2))), ["max_pool", "slice", "slice"]),
        (MAX[2], pool(Pool2d("max", (3, 1), (2, 1), (1, 0, 0, 0))), ["slice", "concat", "max_pool"]),
        (MAX[3], pool(Pool2d("max", (3, 1), (2, 1), (0, 1, 0, 0))), ["max_pool", "slice"]),
        (MAX[4], pool(Pool2d("max", (1, 3), (1, 1))), ["slice", "slice", "maximum", "slice", "maximum"]),
        (AVERAGE[0], pool(Pool2d("avg", (3, 3), (1, 1), (1, 1, 1, 1))), ["depthwise_conv"]),
        (
            AVERAGE[0],
            pool(Pool2d("avg", (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), False)),
            ["depthwise_conv", "mul"],
        ),
        (AVERAGE[0], pool(Pool2d("avg", (3, 3), (2, 2)), ceil=True), ["depthwise_conv", "mul"]),
        (AVERAGE[0], pool(Pool2d("avg", (3, 3), (2, 2), divisor=7), ceil=True), ["depthwise_conv"]),
        (AVERAGE[1], pool(Pool2d("avg", (6, 5), (6, 5))), ["avg_pool", "avg_pool"]),
        ("average pooling of whole images by mean", adaptive("avg", (1, 1)), ["mean"]),
        ("average pooling of whole images by mean", pool(Pool2d("avg", (12, 15), (1, 1))), ["mean"]),
        ("images as channels", pool(Pool2d("max", (2, 2), (2, 2))), ["reshape", "max_pool", "reshape"]),
    ],
)
def test_the_operators_that_a_rule_makes(rule: str, here: Site, operators: list[str]) -> None:
    assert names(rewritten(rule, here)) == operators


def test_a_window_becomes_two_that_span_as_much() -> None:
    graph = rewritten(MAX[0], pool(Pool2d("max", (9, 4), (3, 2), (4, 4, 2, 1))))
    kernels = [layer.core.kernel for layer in graph.layers if isinstance(layer.core, Pool2d)]
    assert kernels == [(5, 2), (5, 3)]


@pytest.mark.parametrize("kernel", [(4, 4), (6, 1), (9, 5), (12, 15)])
def test_averages_of_averages(kernel: tuple[int, int]) -> None:
    graph = rewritten(AVERAGE[1], pool(Pool2d("avg", kernel, kernel), (2, 3, 14, 17)))
    inner, outer = (layer.core for layer in graph.layers if isinstance(layer.core, Pool2d))
    assert tuple(a * b for a, b in zip(inner.kernel, outer.kernel, strict=True)) == kernel
    assert (1, 1) not in (inner.kernel, outer.kernel)


def test_a_window_as_large_as_the_image_is_a_kernel_as_large() -> None:
    graph = rewritten(AVERAGE[0], pool(Pool2d("avg", (12, 15), (12, 15))))
    (core,) = [layer.core for layer in graph.layers if isinstance(layer.core, Conv2d)]
    assert core.weight.shape == (3, 1, 12, 15)
    np.testing.assert_allclose(core.weight, 1 / 180)


@pytest.mark.parametrize(
    ("rule", "here", "reason"),
    [
        (MAX[0], pool(Pool2d("max", (2, 2), (2, 2))), "its window has at most two rows and columns"),
        (MAX[0], pool(Pool2d("max", (3, 3), (1, 1), dilation=(2, 1))), "it is dilated"),
        (MAX[1], pool(Pool2d("max", (2, 2), (1, 1))), "it has no stride"),
        (MAX[2], pool(Pool2d("max", (2, 2), (1, 1))), "it has no padding"),
        (
            MAX[2],
            pool(Pool2d("max", (3, 3), (1, 1), (1, 1, 1, 1), (2, 2))),
            "it is dilated, so that its windows may miss the edge",
        ),
        (MAX[3], pool(Pool2d("max", (3, 3), (1, 1), (1, 1, 1, 1))), "its padding is as much before as after"),
        (
            MAX[4],
            pool(Pool2d("max", (65, 65), (1, 1)), (1, 1, 70, 70)),
            "it would take 130 slices, and 128 are the most",
        ),
        (MAX[0], adaptive("max", (3, 3)), "its windows are chosen for the size of its result"),
        (AVERAGE[0], adaptive("avg", (3, 3)), "its windows are chosen for the size of its result"),
        (
            AVERAGE[1],
            pool(Pool2d("avg", (6, 5), (3, 5))),
            "its windows overlap, have padding, or divide by another number",
        ),
        (AVERAGE[1], pool(Pool2d("avg", (5, 7), (5, 7))), "its window of 5 by 7 has no smaller ones"),
        (AVERAGE[1], pool(Pool2d("avg", (9, 9), (9, 9)), ceil=True), "its last windows are cut off"),
        (
            "average pooling of whole images by mean",
            adaptive("avg", (1, 3)),
            "its window is not the whole image",
        ),
        (ADAPTIVE[0], pool(Pool2d("max", (2, 2), (2, 2))), "its windows have a given size"),
        (
            ADAPTIVE[1],
            adaptive("max", (124, 5), (1, 1, 125, 5)),
            "it would take 129 windows, and 128 are the most",
        ),
        ("images as channels", pool(Pool2d("max", (2, 2), (2, 2)), (1, 3, 4, 4)), "it has one image"),
    ],
)
def test_why_a_rule_refuses(rule: str, here: Site, reason: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        drafted(rule, here)
    assert str(refusal.value) == reason
