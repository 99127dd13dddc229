"""Depthwise and pointwise convolutions as one kernel: the same results, and only where that can be."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.compiler import compile_graph
from sparsegen.graph import Conv2d, Layer, LayerGraph, SeparableConv2d, Step
from sparsegen.kernels.panels import PanelSchedule
from sparsegen.kernels.plan import plan_graph
from sparsegen.kernels.registry import space_of
from sparsegen.target import parse_target
from tests.kernels.contract import WEIGHTS, check, weights
from tests.sampling import examples, large

RELU = (Step("relu"),)
PAYING = "haswell"
"""Where fusing is estimated to pay: not on every CPU, as not where AVX-512 takes two cycles."""


def pair(
    batch: int,
    channels: int,
    size: tuple[int, int],
    out: int,
    *,
    stride: int = 1,
    kernel: int = 3,
    kind: str = "half",
    steps: tuple[Step, ...] = RELU,
    bias: bool = True,
) -> LayerGraph:
    """A depthwise and a pointwise convolution, `steps` after each."""
    extents = [(extent - 1) // stride + 1 for extent in size]
    biases = [np.linspace(-1, 1, n, dtype=np.float32) if bias else None for n in (channels, out)]
    depthwise = Conv2d(
        weights((channels, 1, kernel, kernel), "dense"),
        biases[0],
        (stride, stride),
        (kernel // 2,) * 4,
        groups=channels,
    )
    pointwise = Conv2d(weights((out, channels, 1, 1), kind), biases[1])
    layers = [
        Layer("depthwise", depthwise, ("x",), (batch, channels, *extents), steps),
        Layer("pointwise", pointwise, ("depthwise",), (batch, out, *extents), steps),
    ]
    return LayerGraph({"x": (batch, channels, *size)}, layers, ("pointwise",))


def fused(graph: LayerGraph) -> LayerGraph:
    """The pair as one layer, whatever the estimate."""
    first, second = graph.layers
    assert isinstance(first.core, Conv2d)
    assert isinstance(second.core, Conv2d)
    core = SeparableConv2d(first.core, first.epilogue, second.core, first.name)
    return replace(graph, layers=[replace(second, core=core, inputs=first.inputs)])


def is_fused(graph: LayerGraph, *, target: str = PAYING, **options: object) -> bool:
    """Whether a graph is compiled with a separable layer."""
    plan = plan_graph(graph, threads=1, target=parse_target(target), **options)  # type: ignore[arg-type]
    return any(isinstance(layer.core, SeparableConv2d) for layer in plan.graph.layers)


LARGE = pair(16, 64, (56, 56), 64, kind="half")  # fusing pays beyond doubt

SCHEDULES = {
    "one block": PanelSchedule(rows=2, tile_h=1, tile_w=3, block=64, chunk=9),
    "blocks that divide nothing": PanelSchedule(rows=3, tile_h=2, tile_w=3, block=5, chunk=6),
    "chunks": PanelSchedule(rows=2, tile_h=1, tile_w=7, block=8, chunk=2, prefetch=False),
    "parallel panels": PanelSchedule(rows=2, tile_h=2, tile_w=2, block=8, chunk=3, parallel="panels"),
    "permuted": PanelSchedule(rows=3, tile_h=1, tile_w=2, block=8, chunk=2, permuted=True, unroll=2),
    "dense": PanelSchedule(rows=4, tile_h=1, tile_w=4, block=16, chunk=5, format="dense_panels"),
    "combined": PanelSchedule(rows=2, tile_h=1, tile_w=3, block=5, chunk=3, format="column_combined"),
}


@large(
    ("name", "image", "setting"),
    itertools.product(
        SCHEDULES,
        [(1, (7, 7)), (2, (14, 14)), (1, (5, 9)), (2, (9, 5))],  # strides and sizes
        [(16, "native"), (28, "native"), (16, "haswell")],  # batches and targets
    ),
    sample=12,
)
def test_any_schedule(name: str, image: tuple[int, tuple[int, int]], setting: tuple[int, str]) -> None:
    (stride, size), (batch, target) = image, setting
    graph = fused(pair(batch, 13, size, 17, stride=stride))
    check(graph, threads=2, target=target, schedules={"pointwise": SCHEDULES[name]})


@pytest.mark.parametrize("kind", WEIGHTS)
def test_any_weights(kind: str) -> None:
    check(fused(pair(16, 24, (14, 14), 32, kind=kind)), threads=2)


def test_dense_multiplies_every_weight() -> None:
    check(fused(pair(16, 24, (14, 14), 32)), threads=2, dense=True)


@large(
    ("steps", "bias"),
    itertools.product(
        [(), (Step("relu6"),), (Step("hardswish"),), (Step("mul", 0.5), Step("add", 1.0), Step("relu"))],
        [True, False],
    ),
    sample=4,
)
def test_any_steps_between(steps: tuple[Step, ...], bias: bool) -> None:
    check(fused(pair(16, 12, (7, 7), 9, steps=steps, bias=bias)), threads=1)


@examples(12, soak=800)
@given(
    batch=st.sampled_from([15, 16, 28]),
    channels=st.integers(2, 20),
    out=st.integers(1, 12),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    stride=st.integers(1, 3),
    kernel=st.sampled_from([1, 3, 5]),
    threads=st.integers(1, 2),
    target=st.sampled_from(["native", "haswell"]),
    seed=st.integers(0, 99),
)
def test_any_pair(
    batch: int,
    channels: int,
    out: int,
    size: tuple[int, int],
    stride: int,
    kernel: int,
    threads: int,
    target: str,
    seed: int,
) -> None:
    graph = pair(batch, channels, size, out, stride=stride, kernel=kernel)
    check(fused(graph), threads=threads, target=target, seed=seed)


def test_large_images_are_fused() -> None:
    assert is_fused(LARGE)
    assert is_fused(LARGE, dense=True)
    check(LARGE, threads=1, target=PAYING)


def test_pixel_lanes_are_not() -> None:
    assert not is_fused(pair(1, 64, (56, 56), 64))


def test_batches_with_unused_lanes_are() -> None:
    graph = pair(28, 32, (56, 56), 32)
    assert is_fused(graph)
    check(graph, threads=2, target=PAYING)


def test_layers_with_given_schedules_are_not() -> None:
    assert not is_fused(LARGE, schedules={"pointwise": PanelSchedule(1, 1, 7, 64, 64)})


def with_another(graph: LayerGraph, layer: Layer, output: str) -> LayerGraph:
    return replace(graph, layers=[*graph.layers, layer], outputs=(*graph.outputs, output))


def test_an_output_that_something_else_reads_is_kept() -> None:
    first, second = LARGE.layers
    other = replace(second, name="other")
    assert not is_fused(with_another(LARGE, other, "other"))
    assert not is_fused(replace(LARGE, outputs=("pointwise", "depthwise")))
    residual = replace(second, epilogue=(Step("add", "depthwise"),))
    assert not is_fused(replace(LARGE, layers=[first, residual]))


def test_a_residual_of_the_depthwise_convolution_keeps_the_two_apart() -> None:
    first, second = LARGE.layers
    residual = replace(first, epilogue=(Step("add", "x"),))
    assert not is_fused(replace(LARGE, layers=[residual, second]))


def test_a_residual_of_the_pointwise_convolution_does_not() -> None:
    first, second = LARGE.layers
    graph = replace(LARGE, layers=[first, replace(second, epilogue=(Step("add", "x"), Step("relu")))])
    assert is_fused(graph)
    check(graph, threads=2, target=PAYING)


@pytest.mark.parametrize(
    "change",
    [
        {"stride": (2, 2)},
        {"padding": (0, 0, 0, 0), "weight": weights((64, 64, 3, 3))},
    ],
)
def test_other_convolutions_after_a_depthwise_one_are_not(change: dict[str, object]) -> None:
    first, second = LARGE.layers
    assert isinstance(second.core, Conv2d)
    core = replace(second.core, **change)  # type: ignore[arg-type]
    size = 28 if "stride" in change else 54
    after = replace(second, core=core, shape=(16, 64, size, size))
    assert not is_fused(replace(LARGE, layers=[first, after]))


def test_both_layers_are_reported() -> None:
    model = compile_graph(LARGE, threads=1, target=PAYING, database=None)
    depthwise, pointwise = model.layers
    assert (depthwise.name, depthwise.kernel, depthwise.weight_shape) == ("depthwise", "fused", (64, 1, 3, 3))
    assert (pointwise.name, pointwise.kernel, pointwise.weight_shape) == (
        "pointwise",
        "separable",
        (64, 64, 1, 1),
    )
    assert pointwise.input_shapes == (depthwise.output_shape,) == ((16, 64, 56, 56),)
    assert pointwise.schedule_source == "default"
    for report in model.layers:
        model.run_layer(report.name)


def test_the_input_is_never_packed_again() -> None:
    graph = fused(pair(16, 13, (7, 7), 17))
    plan = plan_graph(graph, threads=1, target=parse_target("native"))
    space = space_of(plan.layer("pointwise"), plan.context)
    assert space is not None
    assert space.kernel == "separable"
    assert isinstance(space.default, PanelSchedule)
    assert space.legal(space.default)
    assert not space.legal(replace(space.default, pack_input=True))
