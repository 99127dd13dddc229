"""Winograd's kernel: its matrices, its results under any schedule, and where it is chosen."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.compiler import compile_graph
from sparsegen.graph import Conv2d, Layer, LayerGraph, Step
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.registry import space_of
from sparsegen.kernels.space import Space
from sparsegen.kernels.taps import TapConv2d
from sparsegen.kernels.winograd import WinogradProblem, WinogradSchedule
from sparsegen.kernels.winograd.choice import choose, winograd_space
from sparsegen.kernels.winograd.transforms import (
    MOST_TAPS,
    Matrix,
    combine,
    operations,
    outputs_for,
    transform,
)
from sparsegen.target import parse_target
from tests.kernels.contract import WEIGHTS, check, conv_graph, weights
from tests.sampling import examples, large

SAME = (1, 1, 1, 1)
TARGETS = ("native", "haswell")


def space(graph: LayerGraph, *, target: str = "native", threads: int = 1, dense: bool = True) -> Space:
    """The schedules of the graph's only layer."""
    plan = plan_graph(graph, threads=threads, target=parse_target(target), dense=dense)
    layer = plan.layer("layer")
    found = space_of(layer, plan.context)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("taps", "outputs"), [(taps, each) for taps in range(2, MOST_TAPS + 1) for each in outputs_for(taps)]
)
def test_the_matrices_compute_a_convolution(taps: int, outputs: int) -> None:
    matrices, rng = transform(outputs, taps), np.random.default_rng(0)
    tile, kernel = rng.standard_normal((matrices.inputs,) * 2), rng.standard_normal((taps, taps))
    of_input, of_weight, of_output = (
        np.array(matrix) for matrix in (matrices.input, matrices.weight, matrices.output)
    )
    product = (of_weight @ kernel @ of_weight.T) * (of_input @ tile @ of_input.T)
    expected = F.conv2d(torch.from_numpy(tile)[None, None], torch.from_numpy(kernel)[None, None])[0, 0]
    assert np.allclose(of_output @ product @ of_output.T, expected)


def test_the_matrices_of_published_filters() -> None:
    """As Lavin and Gray give them for F(4, 3)."""
    matrices = transform(4, 3)
    assert matrices.input[:2] == ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0))
    assert np.allclose(matrices.weight[:2], ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6)))
    assert matrices.output[3] == (0, 1, -1, 8, -8, 1)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0)), 3),
        (((0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0)), 4),
        (((1, 0), (0, 1)), 0),
    ],
    ids=["sums", "two that recur, one negated", "copies"],
)
def test_sums_that_recur_count_once(matrix: Matrix, expected: int) -> None:
    assert operations(matrix) == expected


@given(st.lists(st.sampled_from([0, 1, -1, 2, -4, 5]), min_size=1, max_size=6).filter(any), st.randoms())
def test_terms_of_one_magnitude_are_combined(coefficients: list[float], random: object) -> None:
    values = [float(2**i) for i in range(len(coefficients))]
    assert float(combine(coefficients, values)) == sum(
        c * value for c, value in zip(coefficients, values, strict=True)
    )


# Tiles and panels that divide nothing, several tasks.
SCHEDULES = {
    "2 x 2": WinogradSchedule(outputs=2, rows=4, tiles_h=1, tiles_w=2, chunk=2),
    "4 x 4": WinogradSchedule(outputs=4, rows=3, tiles_h=2, tiles_w=1, chunk=1),
    "one task an image": WinogradSchedule(outputs=4, rows=2, tiles_h=2, tiles_w=2, chunk=7),
}
LARGE = WinogradSchedule(outputs=6, rows=4, tiles_h=1, tiles_w=1, chunk=2)


@large(("kind", "name"), itertools.product(WEIGHTS, SCHEDULES), sample=16)
def test_any_weights(kind: str, name: str) -> None:
    graph = conv_graph(weights((13, 12, 3, 3), kind), (16, 12, 6, 7), padding=SAME)
    check(graph, threads=2, schedules={"layer": SCHEDULES[name]})


IMAGES = {
    "whole tiles": ((16, 5, 8, 8), SAME),
    "a part of the lanes": ((15, 3, 6, 8), SAME),
    "without padding": ((32, 4, 10, 10), (0, 0, 0, 0)),
    "uneven padding": ((16, 4, 7, 6), (2, 1, 0, 3)),
}


@large(("image", "name", "target"), itertools.product(IMAGES, SCHEDULES, TARGETS), sample=10)
def test_any_image(image: str, name: str, target: str) -> None:
    source, padding = IMAGES[image]
    graph = conv_graph(
        weights((14, source[1], 3, 3), "dense"), source, padding=padding, epilogue=(Step("relu"),)
    )
    check(graph, threads=2, target=target, schedules={"layer": SCHEDULES[name]})


@large(
    ("batch", "size", "target"),
    itertools.product([1, 16], [(12, 12), (13, 7), (6, 61)], TARGETS),
    sample=5,
)
def test_large_tiles(batch: int, size: tuple[int, int], target: str) -> None:
    graph = conv_graph(
        weights((14, 5, 3, 3), "dense"), (batch, 5, *size), padding=SAME, epilogue=(Step("relu"),)
    )
    check(graph, threads=2, target=target, schedules={"layer": LARGE}, tolerance=1e-4)


# With pixel lanes: a vector holds 16, 8, 4 or 2 tiles of a row, and rows of tiles below each other.
OF_PIXELS = {
    "2 x 2": WinogradSchedule(outputs=2, rows=4, tiles_h=1, tiles_w=1, chunk=2),
    "4 x 4": WinogradSchedule(outputs=4, rows=3, tiles_h=1, tiles_w=1, chunk=1),
}


@large(
    ("name", "size", "batch", "target"),
    itertools.product(OF_PIXELS, [(4, 7), (9, 30), (6, 61), (5, 90)], [1, 3], TARGETS),
    sample=12,
)
def test_any_image_of_pixel_lanes(name: str, size: tuple[int, int], batch: int, target: str) -> None:
    graph = conv_graph(
        weights((14, 5, 3, 3), "dense"), (batch, 5, *size), padding=SAME, epilogue=(Step("relu"),)
    )
    check(graph, threads=2, target=target, schedules={"layer": OF_PIXELS[name]})


LONG = 2 * parse_target("native").lanes + 1  # a row of two vectors and a pixel


@large(
    ("size", "number"),
    itertools.product([(14, 14), (13, 14), (7, 7), (17, 13), (3, LONG)], range(5)),
    sample=11,
)
def test_rows_that_vectors_do_not_cut_evenly(size: tuple[int, int], number: int) -> None:
    graph = conv_graph(weights((6, 5, 3, 3), "dense"), (3, 5, *size), padding=SAME, epilogue=(Step("relu"),))
    plan = plan_graph(graph, threads=2, target=parse_target("native"))
    core, context = plan.layer("layer").core, plan.context
    assert isinstance(core, TapConv2d)
    problem = WinogradProblem.of(core, context.layout("x"), context.layout("layer"))
    assert problem is not None
    choice = choose(problem, context.target, threads=2)
    assert choice is not None
    schedules = list(winograd_space(choice, context.target, threads=2).schedules())
    drawn = random.Random(0).sample(schedules, len(schedules))
    check(graph, threads=2, schedules={"layer": drawn[number % len(drawn)]})


@pytest.mark.parametrize("batch", [1, 16])
def test_a_residual_and_the_next_layer_find_what_they_expect(batch: int) -> None:
    """The second layer reads the halo that the first has to leave zero, and adds the first's input."""
    shape = (batch, 8, 14, 13)
    first, second = (Conv2d(weights((8, 8, 3, 3), "dense"), None, padding=SAME) for _ in range(2))
    graph = LayerGraph(
        {"x": shape},
        [
            Layer("first", first, ("x",), shape, (Step("sigmoid"),)),
            Layer("second", second, ("first",), shape, (Step("add", "x"), Step("relu"))),
        ],
        ("second",),
    )
    knobs = WinogradSchedule(outputs=4, rows=4, tiles_h=1, tiles_w=1, chunk=1)
    check(graph, threads=2, schedules={"first": knobs, "second": knobs})
    direct = PanelSchedule(rows=2, tile_h=1, tile_w=1, block=8, chunk=1)
    check(graph, threads=1, schedules={"first": knobs, "second": direct})


@large(
    ("setting", "batch", "which"),
    itertools.product(
        [(1, "native"), (2, "native"), (2, "haswell")],  # threads and targets
        [1, 16],
        ["first", "middle", "last", "default"],
    ),
    sample=8,
)
def test_schedules_of_the_space_are_right(setting: tuple[int, str], batch: int, which: str) -> None:
    threads, target = setting
    graph = conv_graph(weights((64, 64, 3, 3), "dense"), (batch, 64, 28, 28), padding=SAME)
    found = space(graph, threads=threads, target=target)
    assert found.kernel == "winograd"
    assert found.legal(found.default)
    schedules = list(found.schedules())
    assert found.default in schedules
    places = {"first": 0, "middle": len(schedules) // 2, "last": -1}
    schedule = schedules[places[which]] if which in places else found.default
    assert all(math.isfinite(value) for value in found.features(schedule).values())
    check(graph, threads=threads, target=target, schedules={"layer": schedule}, tolerance=1e-4)


@examples(20)
@given(st.data())
def test_points_are_read_back(data: st.DataObject) -> None:
    found = space(conv_graph(weights((16, 8, 3, 3), "dense"), (16, 8, 8, 8), padding=SAME))
    schedule = data.draw(st.sampled_from(list(found.schedules())))
    assert found.read(schedule.as_dict()) == schedule


def test_more_zeros_make_panels_the_choice() -> None:
    kernels = []
    for density in (1.0, 0.9, 0.5, 0.2, 0.05):
        rng = np.random.default_rng(0)
        weight = weights((64, 64, 3, 3), "dense") * (rng.random((64, 64, 3, 3)) < density)
        found = space(conv_graph(weight, (16, 64, 28, 28), padding=SAME), dense=False)
        kernels.append(found.kernel)
    assert (kernels[0], kernels[-1]) == ("winograd", "panels")
    assert sum(before != after for before, after in itertools.pairwise(kernels)) == 1


def test_it_can_be_switched_off() -> None:
    graph = conv_graph(weights((64, 64, 3, 3), "dense"), (16, 64, 28, 28), padding=SAME)
    allowed, forbidden = (
        compile_graph(graph, threads=1, database=None, winograd=winograd).layers[0].kernel
        for winograd in (True, False)
    )
    assert (allowed, forbidden) == ("winograd", "panels")
