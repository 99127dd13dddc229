"""Winograd's kernels on any window of taps: of all filters and of those kept, in both lane layouts."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tvm import sym, tirx

from sparsegen.compiler import compile_graph
from sparsegen.graph import LayerGraph, Step
from sparsegen.kernels.conv import SparseWinograd
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.problems import winograd_problem
from sparsegen.kernels.registry import refusals
from sparsegen.kernels.taps import TapConv2d
from sparsegen.kernels.winograd import SparseWinogradSchedule, WinogradProblem, WinogradSchedule
from sparsegen.kernels.winograd.choice import winograd_fault
from sparsegen.kernels.winograd.transforms import transform
from sparsegen.kernels.winograd.window import refusal
from sparsegen.target import parse_target
from tests.kernels.contract import TOLERANCE, Array, check, conv_graph, weights
from tests.sampling import large

BATCHES = (3, 16)  # lanes hold pixels, and images
TARGETS = ("native", "haswell")

WINDOWS = {  # by kernel and stride: those, the image's size, and the padding
    "3x3": (3, 1, (9, 13), (1, 1, 1, 1)),
    "3x3 without padding": (3, 1, (9, 30), (0, 0, 0, 0)),
    "3x3, wide padding": (3, 1, (7, 12), (2, 2, 2, 2)),
    "3x3, uneven padding": (3, 1, (7, 33), (0, 1, 3, 0)),
    "2x2": (2, 1, (8, 8), (0, 0, 0, 0)),
    "4x4": (4, 1, (8, 8), (1, 2, 1, 2)),
    "5x5": (5, 1, (9, 12), (2, 2, 2, 2)),
    "6x6": (6, 1, (9, 12), (2, 3, 2, 3)),
    "7x7": (7, 1, (9, 13), (3, 3, 3, 3)),
    "3x3 by 2": (3, 2, (16, 13), (1, 1, 1, 1)),
    "3x3 by 2 without padding": (3, 2, (15, 41), (0, 0, 0, 0)),
    "4x4 by 2": (4, 2, (12, 34), (1, 1, 1, 1)),
    "5x5 by 2": (5, 2, (13, 13), (2, 2, 2, 2)),
    "7x7 by 2": (7, 2, (32, 30), (3, 3, 3, 3)),
    "7x7 by 2, uneven": (7, 2, (13, 35), (3, 2, 3, 2)),
    "5x5 by 3": (5, 3, (14, 20), (2, 2, 2, 2)),
    "6x6 by 4, uneven": (6, 4, (17, 70), (1, 2, 0, 3)),
}


def graph(window: str, batch: int, weight: Array) -> LayerGraph:
    """A convolution of a window and a ReLU."""
    _, stride, size, padding = WINDOWS[window]
    shape = (batch, weight.shape[1], *size)
    return conv_graph(weight, shape, stride=(stride, stride), padding=padding, epilogue=(Step("relu"),))


def problem(layers: LayerGraph, target: str) -> WinogradProblem:
    """The graph's convolution as Winograd's kernel sees it."""
    plan = plan_graph(layers, threads=2, target=parse_target(target))
    found = winograd_problem(plan.layer("layer"), plan.context)
    assert found is not None
    return found


def legal(tiles: WinogradProblem, *, first: int) -> WinogradSchedule:
    """A schedule of tiles of one of the sizes, the first one that can be from the one of this number on."""
    sizes = tiles.outputs * 2
    for outputs in sizes[first % len(tiles.outputs) :]:
        # With pixel lanes tasks of short rows are whole images.
        down = 1 if tiles.out.batch_lanes else tiles.tiles(outputs)[0]
        knobs = WinogradSchedule(outputs, rows=3, tiles_h=down, tiles_w=1, chunk=1)
        if winograd_fault(tiles, knobs) is None:
            return knobs
    raise AssertionError("no tiles suit the image")


def partly_kept(window: str) -> Array:
    """Weights, half of them zero: some filters are empty, and some phases of a stride."""
    kernel, stride, _, _ = WINDOWS[window]
    weight = weights((7, 3, kernel, kernel), "half")
    weight[:, 1, ::stride] = 0
    weight[4:, 0] = 0
    return weight


@large(
    ("window", "batch", "target", "sparse", "first"),
    itertools.product(WINDOWS, BATCHES, TARGETS, [False, True], range(3)),
    sample=17,
)
def test_any_window(window: str, batch: int, target: str, sparse: bool, first: int) -> None:
    layers = graph(window, batch, partly_kept(window))
    tiles = problem(layers, target)
    knobs = legal(tiles, first=first)
    tolerance = 2 * TOLERANCE if tiles.transform(knobs).inputs <= 6 else 1e-4
    if sparse:
        knobs = SparseWinogradSchedule(**knobs.as_dict(), permuted=first > 0, chains=1 + first % 2)
    check(layers, threads=2, target=target, schedules={"layer": knobs}, tolerance=tolerance)


@pytest.mark.parametrize(("kernel", "number"), [(3, 0), (5, 1), (3, 2)])
def test_schedules_of_a_stride_are_right_and_told(kernel: int, number: int) -> None:
    weight = weights((16, 8, kernel, kernel), "dense")
    for first in range(0, 16, 4):
        weight[first : first + 4, first // 4 :: 2] = 0
    layers = conv_graph(weight, (2, 8, 56, 56), stride=(2, 2), padding=(kernel // 2,) * 4)
    plan = plan_graph(layers, threads=2, target=parse_target())
    layer = plan.layer("layer")
    assert {"winograd", "sparse_winograd"}.isdisjoint(refusals(layer, plan.context))
    space = SparseWinograd().space(layer, plan.context)
    assert space is not None
    schedules = list(space.schedules())
    schedule = random.Random(0).sample(schedules, len(schedules))[number]
    assert all(math.isfinite(value) for value in space.features(schedule).values())
    assert space.read(schedule.as_dict()) == schedule
    check(layers, threads=2, schedules={"layer": schedule}, tolerance=1e-4)


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("outputs", [2, 4])
def test_phases_of_fewer_taps_are_zero_where_they_are_not_multiplied(kernel: int, outputs: int) -> None:
    """At a tile's last row and column of positions: 19 % of the products of a 3x3 filter, tiles of 4 x 4."""
    layers = conv_graph(weights((2, 3, kernel, kernel), "dense"), (16, 3, 12, 12), stride=(2, 2))
    tiles = problem(layers, "native")
    matrix = np.array(transform(outputs, tiles.taps).weight)
    n, ends, parts = len(matrix), [0, *tiles.part_ends], tiles.window.parts

    def end_of(part: int) -> Any:
        return tirx.const(ends[part], "int32")

    transformed = np.einsum("ia,jb,kcab->ijkc", matrix, matrix, tiles.filters)
    multiplied = np.zeros(transformed.shape, bool)
    for i, j in itertools.product(range(n), range(n)):
        row, column = tirx.const(i, "int32"), tirx.const(j, "int32")
        span = parts.begin(end_of, column, n), parts.end(end_of, row, column, n)
        multiplied[i, j, :, slice(*(int(sym.Analyzer().simplify(each)) for each in span))] = True
    assert np.array_equal(transformed != 0, multiplied)
    assert multiplied.sum() / (2 * n * n) == pytest.approx(tiles.multiplied(outputs))
    if (kernel, outputs) == (3, 4):
        assert multiplied.mean() == 0.81


@pytest.mark.parametrize(
    ("window", "batch"), [("3x3", 16), ("3x3", 3), ("3x3 without padding", 3), ("3x3 by 2", 3)]
)
def test_what_lies_past_the_image_does_not_matter(window: str, batch: int) -> None:
    """Tiles stand over the image's end, where the next channel lies: one of huge values and no weights."""
    weight = weights((4, 4, 3, 3), "dense")
    weight[:, 1:] = 0
    layers = graph(window, batch, weight)
    tiles = problem(layers, "native")
    knobs = WinogradSchedule(4, rows=2, tiles_h=tiles.tiles(4)[0], tiles_w=1, chunk=2)
    model = compile_graph(layers, threads=1, schedules={"layer": knobs})
    x = torch.randn(layers.inputs["x"], generator=torch.Generator().manual_seed(0))
    results = []
    for others in (0.0, 1e30):
        x[:, 1:] = others
        results.append(model(x).clone())
    assert torch.equal(*results)


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ((16, 16, 3, 3), {"stride": (2, 1)}, "no square that moves by the same along both axes"),
        ((16, 16, 3, 3), {"stride": (3, 3)}, "filters of 3x3 with stride 3 have one tap a phase"),
        ((16, 16, 3, 3), {"dilation": (2, 2)}, "no square that moves by the same along both axes"),
        ((16, 8, 3, 3), {"groups": 2}, "grouped convolutions run dense"),
        ((16, 16, 3, 5), {}, "filters are 3x5, not square"),
        ((16, 16, 1, 1), {}, "filters of 1x1 with stride 1 have one tap a phase"),
        ((16, 16, 9, 9), {}, "9 taps along an axis would round too much: 7 may be"),
    ],
)
@pytest.mark.parametrize("batch", BATCHES)
def test_other_convolutions_are_refused_with_a_reason(
    shape: tuple[int, ...], options: dict[str, object], reason: str, batch: int
) -> None:
    layers = conv_graph(weights(shape, "dense"), (batch, 16, 12, 12), **options)  # type: ignore[arg-type]
    plan = plan_graph(layers, threads=1, target=parse_target())
    assert reason in refusals(plan.layer("layer"), plan.context)["winograd"]


def test_a_window_that_is_refused_has_no_problem() -> None:
    """Phases of strides that differ are as many as those of a square stride."""
    layers = conv_graph(weights((8, 4, 6, 6), "dense"), (1, 4, 16, 16), stride=(4, 1))
    plan = plan_graph(layers, threads=1, target=parse_target())
    core = plan.layer("layer").core
    assert isinstance(core, TapConv2d)
    assert core.taps.group_channels == 4 * 4
    assert refusal(core) is not None
    square = conv_graph(weights((8, 4, 6, 6), "dense"), (1, 4, 16, 16), stride=(2, 2))
    other = plan_graph(square, threads=1, target=parse_target()).layer("layer").core
    assert isinstance(other, TapConv2d)
    assert refusal(other) is None
    assert refusal(replace(other, taps=core.taps)) is not None
    assert np.array_equal(other.weight, core.weight)
