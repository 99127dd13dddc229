"""Convolutions by others and by linear layers: the operators, the same numbers, and why a rule refuses."""

from __future__ import annotations

import numpy as np
import pytest

from sparsegen.graph import Array, Conv2d, Layer, Linear, Shape
from sparsegen.rewriting.rule import RefusalError, rules_for
from sparsegen.rewriting.site import Site
from tests.rewriting.drawn_windows import drawn_convolution, windows
from tests.rewriting.exact import names, rewritten
from tests.rewriting.rewritings import drafted, site

RULES = (
    "strided convolution by slices",
    "strided convolution by space to depth",
    "padding of a convolution by pad",
    "uneven padding by a larger kernel",
    "dilated convolution by a larger kernel",
    "dilated convolution by space to depth",
    "large kernel by two smaller ones",
)
GROUPS = (
    "groups by dense convolution",
    "groups by a convolution each",
    "groups of one channel by depthwise convolution",
    "images as channels of one",
    "images one by one",
)
HALVES = (
    "convolution by halves of its filters",
    "convolution by halves of its channels",
    "convolution by halves of its groups",
)
SERVED = 20
"""Drawn convolutions that a rule has to serve; all of 240 are tried for one that serves few."""
CUT, JOINED = ["reshape", "slice", "reshape"], ["reshape", "reshape", "concat", "reshape"]


def weights(*shape: int, seed: int = 0) -> Array:
    made: Array = np.random.default_rng(seed).standard_normal(shape)  # type: ignore[assignment]
    return made


def conv(source: Shape, weight: Shape, *, bias: bool = True, **changed: object) -> Site:
    core = Conv2d(weights(*weight), weights(weight[0], seed=1) if bias else None, **changed)  # type: ignore[arg-type]
    counts = windows(core, weight[2:], source[2:], ceil=False)  # type: ignore[arg-type]
    return site(Layer("y", core, ("x",), (source[0], weight[0], *counts)), {"x": source})


@pytest.mark.parametrize("rule", [*RULES, *GROUPS])
def test_drawn_convolutions_are_computed_exactly(rule: str) -> None:
    served = 0
    for seed in range(240):
        here = drawn_convolution(seed)
        if rule not in [each.name for each in rules_for(here.name)]:
            continue
        try:
            rewritten(rule, here, seed)
        except RefusalError:
            continue
        served += 1
        if served == SERVED:
            break
    assert served >= 5


@pytest.mark.parametrize(
    ("rule", "here", "operators"),
    [
        ("linear by 1x1 convolution", None, ["reshape", "conv", "reshape"]),
        (
            "convolution of whole images by linear",
            conv((2, 3, 4, 5), (6, 3, 4, 5)),
            ["reshape", "linear", "reshape"],
        ),
        ("1x1 convolution by linear", conv((2, 3, 4, 5), (6, 3, 1, 1)), ["transpose", "linear", "transpose"]),
        (RULES[0], conv((1, 3, 9, 8), (6, 3, 3, 3), stride=(2, 1)), ["conv", "slice"]),
        (RULES[1], conv((1, 3, 32, 32), (6, 3, 16, 16), stride=(16, 16)), ["space_to_depth", "conv"]),
        (
            RULES[1],
            conv((1, 3, 9, 9), (6, 3, 3, 3), stride=(2, 2), padding=(1, 1, 1, 1)),
            ["pad", "space_to_depth", "conv"],
        ),
        (RULES[2], conv((1, 3, 9, 9), (6, 3, 3, 3), padding=(0, 1, 0, 2)), ["pad", "conv"]),
        (RULES[3], conv((1, 3, 9, 9), (6, 3, 3, 3), padding=(0, 1, 2, 0)), ["conv"]),
        (RULES[4], conv((1, 3, 9, 9), (6, 3, 3, 3), dilation=(2, 3)), ["conv"]),
        (
            RULES[5],
            conv((1, 4, 13, 13), (4, 1, 3, 3), dilation=(2, 2), groups=4),
            ["pad", "space_to_depth", "depthwise_conv", "pixel_shuffle", "slice", "slice"],
        ),
        (
            RULES[6],
            conv((1, 3, 16, 16), (6, 3, 11, 11), padding=(5, 5, 5, 5)),
            ["conv", "slice", "conv", "add"],
        ),
        (GROUPS[0], conv((1, 6, 9, 9), (6, 1, 3, 3), groups=6), ["conv"]),
        (GROUPS[1], conv((1, 6, 9, 9), (6, 3, 3, 3), groups=2), ["slice", "conv", "slice", "conv", "concat"]),
        (GROUPS[2], conv((1, 3, 9, 9), (6, 1, 3, 3), groups=3), ["gather", "depthwise_conv"]),
        (GROUPS[3], conv((3, 4, 9, 9), (4, 1, 3, 3), groups=4), ["reshape", "depthwise_conv", "reshape"]),
        (
            GROUPS[4],
            conv((2, 4, 9, 9), (4, 4, 3, 3)),
            ["reshape", "slice", "conv", "slice", "conv", "concat", "reshape"],
        ),
        (HALVES[0], conv((1, 4, 9, 9), (5, 4, 3, 3)), ["conv", "conv", *JOINED]),
        (HALVES[1], conv((1, 5, 9, 9), (4, 5, 3, 3)), [*CUT, "conv", *CUT, "conv", "add"]),
        (
            HALVES[2],
            conv((1, 5, 9, 9), (5, 1, 3, 3), groups=5),
            [*CUT, "depthwise_conv", *CUT, "depthwise_conv", *JOINED],
        ),
    ],
)
def test_the_operators_that_a_rule_makes(rule: str, here: Site | None, operators: list[str]) -> None:
    linear = Layer("y", Linear(weights(5, 7), weights(5, seed=1)), ("x",), (2, 3, 5))
    assert names(rewritten(rule, here or site(linear, {"x": (2, 3, 7)}))) == operators


def test_the_halves_of_a_kernel_are_halved_until_they_are_small() -> None:
    graph = rewritten("large kernel by two smaller ones", conv((1, 2, 9, 9), (3, 2, 4, 7)))
    kernels = [layer.core.weight.shape[2:] for layer in graph.layers if isinstance(layer.core, Conv2d)]
    assert kernels == [(4, 4), (4, 3)]


@pytest.mark.parametrize(
    ("rule", "here", "reason"),
    [
        (
            "convolution of whole images by linear",
            conv((1, 3, 5, 5), (6, 3, 3, 3)),
            "its kernel is not as large as its image",
        ),
        (
            "1x1 convolution by linear",
            conv((1, 3, 5, 5), (6, 3, 1, 1), stride=(2, 2)),
            "it is no 1x1 convolution without stride and padding",
        ),
        (RULES[0], conv((1, 3, 5, 5), (6, 3, 3, 3)), "it has no stride"),
        (RULES[1], conv((1, 3, 9, 9), (6, 3, 3, 3), stride=(2, 2), dilation=(2, 2)), "it is dilated"),
        (RULES[2], conv((1, 3, 5, 5), (6, 3, 3, 3)), "it has no padding"),
        (
            RULES[3],
            conv((1, 3, 5, 5), (6, 3, 3, 3), padding=(1, 1, 2, 2)),
            "its padding is as much before as after",
        ),
        (
            RULES[3],
            conv((1, 3, 9, 9), (6, 3, 3, 3), padding=(0, 1, 0, 0), dilation=(2, 2)),
            "its padding differs by 1, and its dilation is 2",
        ),
        (RULES[4], conv((1, 3, 5, 5), (6, 3, 3, 3)), "it is not dilated"),
        (RULES[5], conv((1, 3, 9, 9), (6, 3, 3, 3), stride=(2, 2), dilation=(2, 2)), "it has a stride"),
        (RULES[6], conv((1, 3, 5, 5), (6, 3, 3, 3)), "its kernel is 3 by 3"),
        (GROUPS[0], conv((1, 2048, 3, 3), (2048, 1, 3, 3), groups=2048), "it would take 37,748,736 weights"),
        (
            GROUPS[1],
            conv((1, 258, 3, 3), (258, 2, 1, 1), groups=129),
            "it would take 129 convolutions, and 128 are the most",
        ),
        (GROUPS[2], conv((1, 4, 3, 3), (4, 2, 3, 3), groups=2), "its groups have 2 channels"),
        (GROUPS[3], conv((1, 4, 3, 3), (4, 1, 3, 3), groups=4), "it has one image"),
        (HALVES[0], conv((1, 4, 3, 3), (1, 4, 3, 3)), "it has nothing that could be halved"),
        (HALVES[1], conv((1, 1, 3, 3), (4, 1, 3, 3)), "it has nothing that could be halved"),
        (GROUPS[4], conv((129, 1, 1, 1), (1, 1, 1, 1)), "it would take 129 images, and 128 are the most"),
    ],
)
def test_why_a_rule_refuses(rule: str, here: Site, reason: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        drafted(rule, here)
    assert str(refusal.value) == reason


def test_weights_keep_their_dtype() -> None:
    for rule in RULES:
        for seed in range(20):
            try:
                graph = drafted(rule, drawn_convolution(seed))
            except RefusalError:
                continue
            for layer in graph.layers:
                if isinstance(layer.core, Conv2d):
                    assert layer.core.weight.dtype == np.float64
