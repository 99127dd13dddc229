"""Slices, gathers, transpositions, padding, shuffles and resizes: operators, numbers, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from sparsegen.frontend import from_torch
from sparsegen.graph import (
    Concat,
    Core,
    Gather,
    Layer,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Shape,
    Slice,
)
from sparsegen.rewriting.rule import RefusalError, rules_for
from sparsegen.rewriting.site import Site
from tests.rewriting.exact import names, rewritten
from tests.rewriting.rewritings import drafted, site

IMAGE = (2, 6, 7, 9)
SHUFFLE = Gather(1, (0, 3, 1, 4, 2, 5))
NEAREST = "nearest upsampling by convolution and pixel shuffle"
SMOOTH = "bilinear upsampling by convolution and pixel shuffle"
MATRICES = "resize by convolutions along rows and columns"


def moved(core: Core, shape: Shape, *sources: Shape) -> Site:
    inputs = {f"x{at}": source for at, source in enumerate(sources or (IMAGE,))}
    return site(Layer("y", core, tuple(inputs), shape), inputs)


def transposed(dims: tuple[int, ...], source: Shape) -> Site:
    return moved(Permute(dims), tuple(source[dim] for dim in dims), source)


def sliced(dim: int, start: int, count: int, step: int) -> Site:
    return moved(Slice(dim, start, step), (*IMAGE[:dim], count, *IMAGE[dim + 1 :]))


def padded(value: float, *amounts: tuple[int, int]) -> Site:
    shape = tuple(extent + sum(pair) for extent, pair in zip(IMAGE, amounts, strict=True))
    return moved(Pad(amounts, value), shape)


def resized(mode: str, size: tuple[int, int], source: Shape = (2, 3, 6, 5), **options: bool) -> Site:
    graph = from_torch(nn.Upsample(size, mode=mode, **options).eval(), (torch.zeros(source),))
    (layer,) = graph.layers
    return site(layer, graph.inputs)


def served(here: Site, tolerance: float = 1e-10) -> set[str]:
    """The rules that serve a site, all of which compute the same."""
    found = set[str]()
    for rule in rules_for(here.name):
        try:
            rewritten(rule.name, here, tolerance=tolerance)
            found.add(rule.name)
        except RefusalError:
            continue
    return found


@pytest.mark.parametrize("dims", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("source", [(2, 3, 4, 5), (1, 3, 4, 5), (3, 1, 4, 1)])
def test_all_transpositions(dims: tuple[int, ...], source: Shape) -> None:
    assert served(transposed(dims, source))


@pytest.mark.parametrize(
    ("rule", "here", "operators"),
    [
        ("transposition by reshape", transposed((0, 2, 1, 3), (2, 3, 1, 5)), ["reshape"]),
        (
            "transposition by slices",
            transposed((0, 2, 1, 3), (1, 2, 3, 5)),
            ["reshape", *["slice"] * 2, *["reshape"] * 2, "concat", "reshape"],
        ),
        (
            "transposition by 1x1 convolution",
            transposed((0, 2, 1, 3), (1, 2, 3, 5)),
            ["reshape", "reshape", "conv", "reshape", "reshape"],
        ),
        (
            "transposition of matrices by convolution",
            transposed((1, 0), (4, 5)),
            ["reshape", "conv", "reshape"],
        ),
        ("transposition in two", transposed((2, 1, 0), (3, 4, 5)), ["transpose", "transpose"]),
        ("slice of steps by strided convolution", sliced(2, 1, 3, 2), ["slice", "depthwise_conv"]),
        ("slice of steps by reshape", sliced(3, 0, 3, 3), ["reshape", "slice", "reshape"]),
        ("slice by convolution", sliced(1, 1, 3, 1), ["conv"]),
        ("slice by convolution", sliced(3, 8, 4, -2), ["reshape", "conv", "reshape"]),
        ("gather by convolution", moved(SHUFFLE, IMAGE), ["conv"]),
        ("gather by slices", moved(Gather(1, (4, 5, 0, 1, 2, 3)), IMAGE), ["slice", "slice", "concat"]),
        ("shuffle by transposition", moved(SHUFFLE, IMAGE), ["reshape", "transpose", "reshape"]),
        (
            "concatenation by convolutions",
            moved(Concat(1), IMAGE, (2, 2, 7, 9), (2, 4, 7, 9)),
            ["conv", "conv", "add"],
        ),
        ("padding of images by convolution", padded(0.0, (0, 0), (0, 0), (1, 2), (0, 3)), ["depthwise_conv"]),
        ("padding of a dimension by convolution", padded(2.5, (0, 0), (1, 2), (0, 0), (0, 0)), ["conv"]),
        (
            "padding by concatenation of zeros",
            padded(0.0, (0, 0), (2, 0), (0, 0), (0, 0)),
            ["slice", "mul", "concat", "concat"],
        ),
        (
            "pixel shuffle by transposition",
            moved(PixelShuffle((2, 3)), (2, 1, 14, 27)),
            ["reshape", "transpose", "reshape"],
        ),
        (
            "space to depth by transposition",
            moved(PixelUnshuffle((1, 3)), (2, 18, 7, 3)),
            ["reshape", "transpose", "reshape"],
        ),
        (
            "space to depth by strided convolution",
            moved(PixelUnshuffle((1, 3)), (2, 18, 7, 3)),
            ["grouped_conv"],
        ),
        (NEAREST, resized("nearest", (12, 15)), ["conv", "pixel_shuffle"]),
        (
            "nearest upsampling by concatenation",
            resized("nearest", (12, 5)),
            ["reshape", "concat", "reshape"],
        ),
    ],
)
def test_the_operators_that_a_rule_makes(rule: str, here: Site, operators: list[str]) -> None:
    assert names(rewritten(rule, here)) == operators


@pytest.mark.parametrize("dim", range(4))
@pytest.mark.parametrize("step", [1, 2, 3, -1, -2])
def test_slices_of_all_dimensions(dim: int, step: int) -> None:
    size = IMAGE[dim]
    for start in range(size):
        most = (size - 1 - start) // step if step > 0 else start // -step
        for count in {most + 1, max(1, most)}:
            found = served(sliced(dim, start, count, step if count > 1 else 1))
            assert "slice by convolution" in found


@pytest.mark.parametrize("dim", range(4))
def test_gathers_concatenations_and_padding_of_all_dimensions(dim: int) -> None:
    indices = tuple(map(int, np.random.default_rng(dim).integers(0, IMAGE[dim], 5)))
    assert served(moved(Gather(dim, indices), (*IMAGE[:dim], 5, *IMAGE[dim + 1 :])))
    other = (*IMAGE[:dim], 3, *IMAGE[dim + 1 :])
    assert served(moved(Concat(dim), (*IMAGE[:dim], IMAGE[dim] + 3, *IMAGE[dim + 1 :]), IMAGE, other))
    amounts = tuple((1, 2) if each == dim else (0, 0) for each in range(4))
    assert len(served(padded(0.0, *amounts))) == (3 if dim >= 2 else 2)
    assert len(served(padded(-1.5, *amounts))) == 2


def test_a_shuffle_that_is_cropped() -> None:
    here = moved(PixelShuffle((2, 3), (1, 2)), (2, 1, 12, 20))
    assert names(rewritten("pixel shuffle by transposition", here))[-2:] == ["slice", "slice"]


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_resizes_by_whole_factors(mode: str, factor: int) -> None:
    here = resized(mode, (6 * factor, 5 * factor)) if factor > 1 else resized(mode, (12, 10), (2, 3, 12, 5))
    found = served(here, tolerance=1e-5)  # weights of interpolation are float32
    assert {MATRICES, NEAREST if mode == "nearest" else SMOOTH} <= found


@pytest.mark.parametrize("size", [(7, 9), (3, 4), (12, 11)])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resizes_by_other_factors(mode: str, size: tuple[int, int]) -> None:
    found = served(resized(mode, size), tolerance=1e-5)
    assert found == {MATRICES, "images as channels", "channels by halves"}


@pytest.mark.parametrize(
    ("rule", "here", "reason"),
    [
        ("transposition by reshape", transposed((1, 0), (4, 5)), "dimensions above 1 change their order"),
        (
            "transposition by slices",
            transposed((1, 0), (129, 130)),
            "it would take 129 slices, and 128 are the most",
        ),
        (
            "transposition by slices",
            transposed((2, 1, 0), (3, 4, 5)),
            "it is no single exchange of two blocks of dimensions",
        ),
        (
            "transposition by 1x1 convolution",
            transposed((1, 0), (65, 66)),
            "it would take 18,404,100 weights",
        ),
        (
            "transposition of matrices by convolution",
            transposed((1, 0, 2), (4, 5, 2)),
            "its last dimension stays the last",
        ),
        (
            "transposition in two",
            transposed((1, 0), (4, 5)),
            "it is a single exchange of two blocks of dimensions",
        ),
        (
            "slice of steps by strided convolution",
            sliced(1, 0, 2, 2),
            "it takes no rows or columns in steps forward",
        ),
        ("slice of steps by reshape", sliced(1, 4, 3, -2), "it takes no steps forward"),
        ("slice of steps by reshape", sliced(2, 0, 3, 3), "its steps do not fit into the dimension"),
        (
            "slice by convolution",
            moved(Slice(1, 0), (1, 2100, 1, 1), (1, 2200, 1, 1)),
            "a convolution would take 4,620,000 weights",
        ),
        (
            "gather by slices",
            moved(Gather(1, (2, 0) * 65), (2, 130, 7, 9)),
            "it would take 129 slices or more, and 128 are the most",
        ),
        (
            "shuffle by transposition",
            moved(Gather(1, (0, 2, 1, 3, 4, 5)), IMAGE),
            "it is no shuffle of equal groups",
        ),
        (
            "padding of images by convolution",
            padded(1.0, (0, 0), (0, 0), (1, 1), (1, 1)),
            "it pads not images' rows and columns with zeros",
        ),
        (
            "padding of a dimension by convolution",
            padded(float("-inf"), (0, 0), (0, 0), (1, 1), (1, 1)),
            "it pads with -inf",
        ),
        (NEAREST, resized("nearest", (7, 9)), "it does not repeat each row and column as often"),
        (SMOOTH, resized("bilinear", (7, 10)), "its size is no multiple of the image's"),
        (
            SMOOTH,
            resized("bilinear", (12, 10), align_corners=True),
            "its weights differ from pixel to pixel, as where corners are aligned",
        ),
    ],
)
def test_why_a_rule_refuses(rule: str, here: Site, reason: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        drafted(rule, here)
    assert str(refusal.value) == reason
